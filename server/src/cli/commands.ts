import type { Command } from 'commander';
import { addCommand } from './add.ts';
import { agentsCommand } from './agents.ts';
import { benchmarksCommand } from './benchmarks.ts';
import { budgetsCommand } from './budgets.ts';
import { changelogCommand } from './changelog.ts';
import { completionCommand } from './completion.ts';
import { configCommand } from './config.ts';
import type { CliContext } from './context.ts';
import { doctorCommand } from './doctor.ts';
import { exportCommand } from './export-state.ts';
import { importCommand } from './import.ts';
import { keysCommand } from './keys.ts';
import { killCommand } from './kill.ts';
import { leaderboardCommand } from './leaderboard.ts';
import { loginCommand } from './login.ts';
import { loginsCommand } from './logins.ts';
import { logoutCommand } from './logout.ts';
import { notesCommand } from './notes.ts';
import { peopleCommand } from './people.ts';
import { policyCommand } from './policy.ts';
import { pricesCommand } from './prices.ts';
import { projectsCommand } from './projects.ts';
import { promptsCommand } from './prompts.ts';
import { reconcileCommand } from './reconcile.ts';
import { retentionCommand } from './retention.ts';
import { runCommand } from './run.ts';
import { runsCommand } from './runs.ts';
import { secretsCommand } from './secrets.ts';
import { sessionsCommand } from './sessions.ts';
import { tasksCommand } from './tasks.ts';
import { teamsCommand } from './teams.ts';
import { telemetryCommand } from './telemetry.ts';
import { tokenCommand } from './token.ts';
import { usageCommand } from './usage.ts';
import { whoamiCommand } from './whoami.ts';

/** The commands that work with a gate or its configuration, in the order of the help. */
export const commands: readonly ((context: CliContext) => Command)[] = [
  addCommand,
  importCommand,
  agentsCommand,
  keysCommand,
  runCommand,
  runsCommand,
  budgetsCommand,
  policyCommand,
  killCommand,
  usageCommand,
  promptsCommand,
  leaderboardCommand,
  telemetryCommand,
  retentionCommand,
  pricesCommand,
  reconcileCommand,
  exportCommand,
  tasksCommand,
  notesCommand,
  changelogCommand,
  benchmarksCommand,
  projectsCommand,
  peopleCommand,
  teamsCommand,
  sessionsCommand,
  loginsCommand,
  loginCommand,
  logoutCommand,
  tokenCommand,
  whoamiCommand,
  configCommand,
  secretsCommand,
  doctorCommand,
  completionCommand,
];
