import { agentId, modelName, projectId, projectOf, spread, versionDigest, workflowName } from './seed/cast.ts';
import type { Seeded } from './seed/seed.ts';
import type { Random } from './random.ts';

/** A kind of read; each call asks for something else. */
export interface Read {
  readonly name: string;
  readonly about: string;
  readonly method: string;
  /** What the 95th percentile may take. */
  readonly p95MsMax?: number;
  /** The member of the answer that must not be empty, or nothing was measured. */
  readonly answer: string;
  readonly request: (random: Random) => object;
}

/** What there is to be asked for. */
export interface Facts {
  readonly seeded: Seeded;
  readonly runs: readonly { readonly id: string; readonly projectId: string }[];
  /** Tokens of pages between the first and the last, by the project that they are of. */
  readonly pages: readonly { readonly projectId: string; readonly pageToken: string }[];
}

export const readNames = [
  'runs',
  'runs-filtered',
  'runs-deep',
  'run',
  'run-events',
  'attempts',
  'summary',
  'leaderboard',
  'comparison',
  'public-board',
];

export function reads(facts: Facts): readonly Read[] {
  return [...lists(facts), ...summaries(facts), ...boards];
}

function lists({ seeded, runs, pages }: Facts): readonly Read[] {
  const runsList = { method: 'RunService/ListRuns', p95MsMax: 20, answer: 'runs' };
  return [
    {
      ...runsList,
      name: 'runs',
      about: 'the first page of a project',
      request: (random) => ({ projectId: projectId(random.below(spread.projects)), pageSize: 10 + random.below(41) }),
    },
    {
      ...runsList,
      name: 'runs-filtered',
      about: 'the first page by agent, workflow, state, version or task, half of them within some days',
      request: (random) => ({
        ...random.pick(filters)(random),
        ...(random.below(2) === 0 && windowOf(seeded, random)),
        pageSize: 10 + random.below(41),
      }),
    },
    {
      ...runsList,
      name: 'runs-deep',
      about: 'a page somewhere in a project',
      request: (random) => ({ ...random.pick(pages), pageSize: 10 + random.below(41) }),
    },
    {
      name: 'run',
      about: 'one run with its totals',
      method: 'RunService/GetRun',
      answer: 'run',
      request: (random) => {
        const run = random.pick(runs);
        return { runId: run.id, projectId: run.projectId };
      },
    },
    {
      name: 'run-events',
      about: 'the events of a run',
      method: 'RunService/ListRunEvents',
      answer: 'events',
      request: (random) => {
        const run = random.pick(runs);
        return { runId: run.id, projectId: run.projectId };
      },
    },
    {
      name: 'attempts',
      about: 'a page of the ledger before some moment, or of a run',
      method: 'AnalyticsService/ListAttempts',
      answer: 'attempts',
      request: (random) => {
        const run = random.pick(runs);
        const { endTime } = windowOf(seeded, random);
        const filter = random.below(2) === 0 ? { runId: run.id } : { endTime };
        return { filter, projectId: run.projectId, pageSize: 10 + random.below(41) };
      },
    },
  ];
}

const groups = ['UNSPECIFIED', 'WORKFLOW', 'PROMPT_VERSION', 'MODEL', 'AGENT', 'DAY'];

function summaries({ seeded }: Facts): readonly Read[] {
  return [
    {
      name: 'summary',
      about: 'sums of a random window, by anything',
      method: 'AnalyticsService/GetTelemetrySummary',
      answer: 'totals',
      request: (random) => {
        const workflow = random.below(spread.workflows);
        const filter = random.pick([
          {},
          { workflow: workflowName(workflow) },
          { model: `${modelName((workflow * 5) % spread.models)}-2026-08-01` },
          agentOf(workflow, random),
        ]);
        return {
          ...filter,
          ...windowOf(seeded, random),
          projectId: projectId(projectOf(workflow)),
          groupBy: `TELEMETRY_GROUP_${random.pick(groups)}`,
        };
      },
    },
  ];
}

const presets = ['BALANCED', 'QUALITY', 'COST', 'SPEED'];

const boards: readonly Read[] = [
  {
    name: 'leaderboard',
    about: 'of a workflow, over any number of days, by model or not, by a preset or weights',
    method: 'AnalyticsService/GetLeaderboard',
    p95MsMax: 50,
    answer: 'entries',
    request: (random) => {
      const workflow = random.below(spread.workflows);
      return {
        projectId: projectId(projectOf(workflow)),
        workflow: workflowName(workflow),
        windowDays: 1 + random.below(spread.days),
        byModel: random.below(2) === 0,
        minRuns: 1 + random.below(20),
        ...(random.below(4) === 0 && { model: modelName((workflow * 5) % spread.models) }),
        ...(random.below(2) === 0
          ? { preset: `LEADERBOARD_PRESET_${random.pick(presets)}` }
          : { weights: { success: 1 + random.below(9), cost: random.below(9), duration: random.below(9) } }),
      };
    },
  },
  {
    name: 'comparison',
    about: 'of two versions by their common tasks',
    method: 'AnalyticsService/ComparePromptVersions',
    answer: 'tasks',
    request: (random) => {
      const workflow = random.below(spread.workflows);
      const version = random.below(spread.versionsPerWorkflow);
      const other = (version + 1 + random.below(spread.versionsPerWorkflow - 1)) % spread.versionsPerWorkflow;
      return {
        projectId: projectId(projectOf(workflow)),
        workflow: workflowName(workflow),
        first: versionDigest(workflow, version),
        second: versionDigest(workflow, other),
        windowDays: 1 + random.below(spread.days),
      };
    },
  },
  {
    name: 'public-board',
    about: 'what strangers see, from memory',
    method: 'AnalyticsService/GetPublicLeaderboard',
    answer: 'workflows',
    request: () => ({}),
  },
];

/** Each combination of filters that the list of runs serves. */
const filters: readonly ((random: Random) => object)[] = [
  byWorkflow(({ workflow }) => ({ workflow: workflowName(workflow) })),
  byWorkflow(({ workflow }, random) => ({ workflow: workflowName(workflow), state: random.pick(states) })),
  byWorkflow(({ workflow }, random) => ({
    workflow: workflowName(workflow),
    promptVersion: versionDigest(workflow, random.below(spread.versionsPerWorkflow)),
  })),
  byWorkflow(({ workflow }, random) => ({ taskId: `task-${workflow}-${random.below(spread.tasksPerWorkflow)}` })),
  byWorkflow(({ workflow }, random) => ({ ...agentOf(workflow, random), workflow: workflowName(workflow) })),
  byWorkflow(({ workflow }, random) => ({ ...agentOf(workflow, random), state: random.pick(states) })),
  byWorkflow(({ workflow }, random) => agentOf(workflow, random)),
  byWorkflow((_, random) => ({ state: random.pick(states) })),
];

const states = ['RUN_STATE_SUCCEEDED', 'RUN_STATE_FAILED', 'RUN_STATE_CANCELLED'];

function byWorkflow(
  more: (chosen: { readonly workflow: number }, random: Random) => object,
): (random: Random) => object {
  return (random) => {
    const workflow = random.below(spread.workflows);
    return { projectId: projectId(projectOf(workflow)), ...more({ workflow }, random) };
  };
}

/** One of the thirty agents that take runs of a workflow (seed/slice-sql.ts). */
function agentOf(workflow: number, random: Random): { readonly agentId: string } {
  return { agentId: agentId(projectOf(workflow), (workflow * 7 + random.below(30)) % spread.agentsPerProject) };
}

const minuteMs = 60_000;
const dayMs = 86_400_000;

/** Some hours to all of the time, of whole minutes. */
export function windowOf({ fromMs, toMs }: Seeded, random: Random): { startTime: string; endTime: string } {
  const shortestMs = Math.min(dayMs, toMs - fromMs);
  const lengthMs = shortestMs + random.below(toMs - fromMs - shortestMs);
  const startMs = fromMs + random.below(toMs - fromMs - lengthMs);
  const text = (ms: number) => new Date(Math.floor(ms / minuteMs) * minuteMs).toISOString();
  return { startTime: text(startMs), endTime: text(startMs + lengthMs) };
}
