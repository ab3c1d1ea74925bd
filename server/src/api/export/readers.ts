import { create, type MessageInitShape, toBinary } from '@bufbuild/protobuf';
import type { Pool } from 'pg';
import { escapedByteMax } from '../../base/limits.ts';
import {
  exportEventRunsMax,
  exportEventsMax,
  exportRowsMax,
  exportRunsMax,
  exportVersionsMax,
} from '../../base/telemetry-limits.ts';
import { selectBudgets } from '../../budget/budget-store.ts';
import { listAttempts, rowsFrom } from '../../budget/usage-store-list.ts';
import type { ExportKind, ExportPlace } from '../../export/model.ts';
import { selectEvaluationsOfRuns, selectRatingsOfRuns } from '../../export/opinion-store.ts';
import { selectEventsOfRuns } from '../../export/run-event-store.ts';
import { readOfRuns, type SelectOfRuns } from '../../export/run-parts.ts';
import type { ReadKind, Told } from '../../export/walk.ts';
import { type ExportRecord, ExportRecordSchema } from '../../gen/portcullis/v1/export_pb.ts';
import { selectAgents } from '../../identity/agent-store.ts';
import { selectKeys } from '../../identity/key-store.ts';
import { type Page, type PageRequest, readPage } from '../../identity/page.ts';
import { selectPeople } from '../../identity/person-store.ts';
import { findProject } from '../../identity/project-store.ts';
import { selectTeams } from '../../identity/team-store.ts';
import { selectKillSwitches } from '../../policy/kill-store.ts';
import { findState, selectWholeVersions } from '../../policy/version-store.ts';
import { selectRuns } from '../../run/list-store.ts';
import { selectAttempts as selectReports } from '../../run/prompt-attempt-store.ts';
import { selectPublished } from '../../telemetry/leaderboard/published-store.ts';
import { selectPromptVersions } from '../../telemetry/prompts/store.ts';
import { agentMessage, keyMessage } from '../agents/messages.ts';
import { budgetMessage } from '../budgets/messages.ts';
import type { ServiceDeps } from '../deps.ts';
import { evaluationMessage, promptVersionMessage, publishedMessage, ratingMessage } from '../leaderboard/messages.ts';
import { benchmarkMessage, changelogMessage, noteMessage, taskMessage } from '../journal/messages.ts';
import { killSwitchMessage } from '../kill/messages.ts';
import { answerMessage } from '../policy/messages.ts';
import { projectMessage } from '../projects/handler.ts';
import { personMessage } from '../projects/people.ts';
import { teamMessage } from '../projects/teams.ts';
import { attemptMessage as reportMessage, eventMessage, runMessage } from '../runs/messages.ts';
import { attemptMessage } from '../usage/messages.ts';

type RecordOf = NonNullable<MessageInitShape<typeof ExportRecordSchema>['record']>;
type Readers = Readonly<Record<ExportKind, ReadKind<ExportRecord>>>;

/** How each kind of a project is read: by the same statements as its lists, from the newest down. */
export function exportReaders(deps: ServiceDeps, projectId: string, begun: ExportPlace): Readers {
  return {
    ...controlReaders(deps, projectId),
    ...toldReaders(deps, projectId, begun),
    ...journalReaders(deps, projectId),
  };
}

type ControlKind = 'project' | 'team' | 'person' | 'agent' | 'key' | 'budget' | 'policy_version' | 'kill_switch';

function controlReaders({ pool, clock, feed }: ServiceDeps, projectId: string): Pick<Readers, ControlKind> {
  return {
    project: listed(
      async () => ({ items: [await findProject(pool, projectId)].filter((found) => found !== null), nextCursor: null }),
      (project) => ({ case: 'project', value: projectMessage(project) }),
    ),
    team: listed(
      byId((before, limit) => selectTeams(pool, projectId, before, limit)),
      (team) => ({ case: 'team', value: teamMessage(team) }),
    ),
    person: listed(
      byId((before, limit) => selectPeople(pool, projectId, before, limit)),
      (person) => ({ case: 'person', value: personMessage(person) }),
    ),
    agent: listed(
      byId((before, limit) => selectAgents(pool, projectId, before, limit)),
      (agent) => ({ case: 'agent', value: agentMessage(agent) }),
    ),
    key: listed(
      byId((before, limit) => selectKeys(pool, projectId, before, limit)),
      (key) => ({ case: 'key', value: keyMessage(key, clock.now()) }),
    ),
    budget: listed(
      byId((before, limit) => selectBudgets(pool, projectId, before, limit)),
      (budget) => ({ case: 'budget', value: budgetMessage(budget) }),
    ),
    policy_version: listed(
      (page) =>
        readPage({ ...page, pageSize: exportVersionsMax }, async (before, limit) => {
          const state = await findState(pool, projectId);
          const versions = await selectWholeVersions(pool, projectId, before === null ? null : Number(before), limit);
          return state === null ? [] : versions.map((version) => ({ id: String(version.version), version, state }));
        }),
      (answer) => ({ case: 'policyVersion', value: answerMessage(answer).version ?? {} }),
    ),
    kill_switch: listed(
      byId((before, limit) => selectKillSwitches(pool, projectId, before, limit)),
      (kill) => ({ case: 'killSwitch', value: killSwitchMessage(kill, feed.databaseNow()) }),
    ),
  };
}

type ToldKind =
  | 'prompt_version'
  | 'published_workflow'
  | 'run'
  | 'run_event'
  | 'attempt'
  | 'reported_attempt'
  | 'rating'
  | 'evaluation';

function toldReaders(
  { pool, clock }: ServiceDeps,
  projectId: string,
  { snapshot, newestAttempt }: Pick<ExportPlace, 'snapshot' | 'newestAttempt'>,
): Pick<Readers, ToldKind> {
  const all = { agentId: null, keyId: null, runId: null, workflow: null, provider: null, model: null, outcome: null };
  const attempts = { ...all, projectId, from: null, to: null };
  const runs = { projectId, from: null, to: null };
  const reports = { projectId, agentId: null, runId: null, from: null, to: null };
  return {
    prompt_version: listed(
      byId((before, limit) => selectPromptVersions(pool, projectId, null, before, limit)),
      (version) => ({ case: 'promptVersion', value: promptVersionMessage(version) }),
    ),
    published_workflow: listed(
      byId(async (after, limit) =>
        (await selectPublished(pool, projectId, after, limit)).map((one) => ({ ...one, id: one.workflow })),
      ),
      (published) => ({ case: 'publishedWorkflow', value: publishedMessage(published) }),
    ),
    run: listed(
      byId(async (before, limit) =>
        (await selectRuns(pool, runs, { agentId: null, set: [] }, before, limit)).map(({ run }) => run),
      ),
      (run) => ({ case: 'run', value: runMessage(run) }),
    ),
    attempt: listed(
      async ({ pageSize, cursor }) => {
        if (newestAttempt === null) return { items: [], nextCursor: null };
        // What came since is not even looked at.
        const page = { pageSize, cursor: cursor ?? rowsFrom(newestAttempt) };
        return listAttempts(pool, attempts, page, clock.now(), snapshot);
      },
      (entry) => ({ case: 'attempt', value: attemptMessage(entry) }),
    ),
    reported_attempt: listed(
      byId((before, limit) => selectReports(pool, reports, before, limit)),
      (attempt) => ({ case: 'reportedAttempt', value: reportMessage(attempt) }),
    ),
    ...runPartReaders(pool, projectId, snapshot),
  };
}

type RunPartKind = 'run_event' | 'rating' | 'evaluation';

function runPartReaders(pool: Pool, projectId: string, snapshot: string): Pick<Readers, RunPartKind> {
  /** What only runs lead to. */
  const ofRuns =
    <T extends { readonly runId: string }>(
      bounds: { readonly runsMax: number; readonly rowsMax: number },
      select: SelectOfRuns<T>,
      keyOf: (row: T) => string,
      recordOf: (row: T) => RecordOf,
    ): ReadKind<ExportRecord> =>
    async (cursor) => {
      const { items, nextCursor } = await readOfRuns(pool, projectId, cursor, bounds, select, keyOf);
      return { items: items.map((row) => told(recordOf(row), row.cursor)), nextCursor };
    };
  const opinions = { runsMax: exportRunsMax, rowsMax: exportRowsMax };
  return {
    run_event: ofRuns(
      { runsMax: exportEventRunsMax, rowsMax: exportEventsMax },
      (runs, behind, limit) => selectEventsOfRuns(pool, runs, snapshot, behind, limit),
      ({ id }) => id,
      (event) => ({ case: 'runEvent', value: eventMessage(event) }),
    ),
    rating: ofRuns(
      opinions,
      (runs, behind, limit) => selectRatingsOfRuns(pool, runs, behind, limit),
      ({ ratedBy }) => ratedBy,
      (rating) => ({ case: 'rating', value: ratingMessage(rating) }),
    ),
    evaluation: ofRuns(
      opinions,
      (runs, behind, limit) => selectEvaluationsOfRuns(pool, runs, behind, limit),
      ({ evaluator }) => evaluator,
      (evaluation) => ({ case: 'evaluation', value: evaluationMessage(evaluation) }),
    ),
  };
}

type JournalKind = 'benchmark' | 'task' | 'note' | 'changelog_entry';

function journalReaders({ tasks, journal }: ServiceDeps, projectId: string): Pick<Readers, JournalKind> {
  return {
    benchmark: listed(
      (page) => journal.listBenchmarks(projectId, null, page),
      (benchmark) => ({ case: 'benchmark', value: benchmarkMessage(benchmark) }),
    ),
    task: listed(
      (page) => tasks.list(projectId, null, page),
      (task) => ({ case: 'task', value: taskMessage(task) }),
    ),
    note: listed(
      (page) => journal.listNotes(projectId, page),
      (note) => ({ case: 'note', value: noteMessage(note) }),
    ),
    changelog_entry: listed(
      (page) => journal.listChangelog(projectId, null, page),
      (entry) => ({ case: 'changelogEntry', value: changelogMessage(entry) }),
    ),
  };
}

function byId<T extends { readonly id: string }>(
  select: (beforeId: string | null, limit: number) => Promise<readonly T[]>,
): (page: PageRequest) => Promise<Page<T>> {
  return (page) => readPage(page, select);
}

/** What has a list of its own. */
function listed<T extends { readonly id: string }>(
  list: (page: PageRequest) => Promise<Page<T>>,
  recordOf: (item: T) => RecordOf,
): ReadKind<ExportRecord> {
  return async (cursor) => {
    const { items, nextCursor } = await list({ pageSize: exportRowsMax, cursor });
    return { items: items.map((item) => told(recordOf(item), item.id)), nextCursor };
  };
}

// What JSON says of a record besides its texts: all members, those without a value too.
const memberBytes = 2_000;

function told(record: RecordOf, cursor: string): Told<ExportRecord> {
  const message = create(ExportRecordSchema, { record });
  const bytes = memberBytes + escapedByteMax * toBinary(ExportRecordSchema, message).length;
  return { record: message, cursor, bytes };
}
