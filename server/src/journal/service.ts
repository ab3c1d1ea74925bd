import type { Pool } from 'pg';
import type { AuditAction } from '../audit/actions.ts';
import { appendAudit } from '../audit/append.ts';
import { PortcullisError } from '../base/errors.ts';
import { newId } from '../base/ids.ts';
import { billedNanousdMax, billedTokensMax, modelNameCharsMax, nameCharsMax } from '../base/limits.ts';
import { benchmarkLatencyMsMax } from '../base/telemetry-limits.ts';
import { checkLine, invalid } from '../identity/input.ts';
import type { Principal } from '../identity/model.ts';
import type { Page, PageRequest } from '../identity/page.ts';
import { requireProject } from '../identity/references.ts';
import { inTransaction, type Tx } from '../pg/tx.ts';
import { insertBenchmark, selectBenchmarks } from './benchmark-store.ts';
import { insertChangelogEntry, selectChangelog } from './changelog-store.ts';
import {
  type Benchmark,
  type ChangelogCategory,
  type ChangelogEntry,
  checkTags,
  checkText,
  checkTitle,
  type Note,
} from './model.ts';
import { deleteNote, insertNote, selectNotes } from './note-store.ts';
import { readSizedPage } from './page.ts';
import { takeRoom } from './quota.ts';

/** Notes, the changelog and benchmarks of the journal. */
export class JournalService {
  readonly #pool: Pool;

  constructor(pool: Pool) {
    this.#pool = pool;
  }

  /** @throws PortcullisError invalid_argument, not_found (the project), rate_limited (too much today) */
  createNote(
    by: Principal,
    requestId: string,
    note: Pick<Note, 'projectId' | 'title' | 'body' | 'tags'>,
  ): Promise<Note> {
    const checked = {
      id: newId('note'),
      projectId: note.projectId,
      title: checkTitle('title', note.title),
      body: checkText('body', note.body),
      tags: checkTags(note.tags),
      createdBy: by.id,
    };
    return inTransaction(this.#pool, async (tx) => {
      await requireProject(tx, checked.projectId);
      await takeRoom(tx, by, checked.projectId, [checked.title, checked.body, ...checked.tags]);
      const made = await insertNote(tx, checked);
      await audit(tx, by, requestId, 'note.created', made, {});
      return made;
    });
  }

  /** @returns the note as it was @throws PortcullisError not_found */
  deleteNote(by: Principal, requestId: string, projectId: string, id: string): Promise<Note> {
    return inTransaction(this.#pool, async (tx) => {
      const note = await deleteNote(tx, projectId, id);
      if (!note) throw new PortcullisError('not_found', `There is no note ${id.slice(0, 100)} in this project.`);
      await audit(tx, by, requestId, 'note.deleted', note, { title: note.title });
      return note;
    });
  }

  /** Newest first. @throws PortcullisError invalid_argument */
  listNotes(projectId: string, page: PageRequest): Promise<Page<Note>> {
    return readSizedPage(page, (beforeId, limit) => selectNotes(this.#pool, projectId, beforeId, limit));
  }

  /** Appends an entry by the caller. @throws PortcullisError invalid_argument, not_found (the project), rate_limited (too much today) */
  appendChangelog(
    by: Principal,
    requestId: string,
    entry: Pick<ChangelogEntry, 'projectId' | 'category' | 'summary' | 'details'>,
  ): Promise<ChangelogEntry> {
    const { projectId, category } = entry;
    const checked = {
      id: newId('chg'),
      projectId,
      category,
      summary: checkTitle('summary', entry.summary),
      details: checkText('details', entry.details),
      actorKind: by.kind,
      actorId: by.id,
    };
    return inTransaction(this.#pool, async (tx) => {
      await requireProject(tx, projectId);
      await takeRoom(tx, by, projectId, [checked.summary, checked.details]);
      const appended = await insertChangelogEntry(tx, checked);
      await audit(tx, by, requestId, 'changelog.appended', appended, { category });
      return appended;
    });
  }

  /** Newest first. @param category null is any @throws PortcullisError invalid_argument */
  listChangelog(
    projectId: string,
    category: ChangelogCategory | null,
    page: PageRequest,
  ): Promise<Page<ChangelogEntry>> {
    return readSizedPage(page, (beforeId, limit) => selectChangelog(this.#pool, projectId, category, beforeId, limit));
  }

  /** @throws PortcullisError invalid_argument, not_found (the project), rate_limited (too much today) */
  recordBenchmark(by: Principal, told: Omit<Benchmark, 'id' | 'recordedBy' | 'recordedAt'>): Promise<Benchmark> {
    const checked = {
      ...told,
      id: newId('bmk'),
      workflow: checkLine('workflow', told.workflow, 1, nameCharsMax),
      provider: checkLine('provider', told.provider, 0, nameCharsMax),
      model: checkLine('model', told.model, 1, modelNameCharsMax),
      tokensInput: checkAmount('input_tokens', told.tokensInput, billedTokensMax),
      tokensOutput: checkAmount('output_tokens', told.tokensOutput, billedTokensMax),
      costUsd: checkAmount('cost_nanousd', told.costUsd, billedNanousdMax),
      latencyMs: checkMeasure('latency_ms', told.latencyMs, benchmarkLatencyMsMax),
      qualityScore: told.qualityScore === null ? null : checkMeasure('quality_score', told.qualityScore, 1),
      notes: checkText('notes', told.notes),
      recordedBy: by.id,
    };
    return inTransaction(this.#pool, async (tx) => {
      await requireProject(tx, checked.projectId);
      const { workflow, provider, model, notes } = checked;
      await takeRoom(tx, by, checked.projectId, [workflow, provider, model, notes]);
      return insertBenchmark(tx, checked);
    });
  }

  /** Newest first. @param workflow null is any @throws PortcullisError invalid_argument */
  listBenchmarks(projectId: string, workflow: string | null, page: PageRequest): Promise<Page<Benchmark>> {
    return readSizedPage(page, (beforeId, limit) => selectBenchmarks(this.#pool, projectId, workflow, beforeId, limit));
  }
}

function audit(
  tx: Tx,
  { kind, id }: Principal,
  requestId: string,
  action: Extract<AuditAction, `note.${string}` | `changelog.${string}`>,
  of: Pick<Note, 'id' | 'projectId'>,
  payload: Readonly<Record<string, string>>,
): Promise<void> {
  return appendAudit(tx, { actor: { kind, id }, action, target: of.id, projectId: of.projectId, requestId, payload });
}

function checkAmount(param: string, amount: bigint, max: bigint): bigint {
  if (amount >= 0n && amount <= max) return amount;
  throw invalid(param, `${param} must be a whole number from 0 to ${max}.`);
}

/** NaN is no measure. */
function checkMeasure(param: string, value: number, max: number): number {
  if (value >= 0 && value <= max) return value;
  throw invalid(param, `${param} must be a number from 0 to ${max}.`);
}
