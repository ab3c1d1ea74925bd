import type { Pool } from 'pg';
import { appendAudit } from '../audit/append.ts';
import type { AuditAction } from '../audit/actions.ts';
import type { JsonValue } from '../audit/canonical-json.ts';
import { PortcullisError } from '../base/errors.ts';
import { exportsPerProjectMax } from '../base/telemetry-limits.ts';
import type { Logger } from '../base/log.ts';
import type { Principal } from '../identity/model.ts';
import { invalid } from '../identity/input.ts';
import { requireProject } from '../identity/references.ts';
import { outsideRequests } from '../pg/request-scope.ts';
import { inTransaction, type Tx } from '../pg/tx.ts';
import { type ExportKind, type ExportPlace, firstPlace } from './model.ts';
import { isOfThisDatabase, takeSnapshot } from './store.ts';

interface Asked {
  readonly by: Principal;
  readonly requestId: string;
  readonly projectId: string;
}

/** Begins and ends streams of exports: some of a project at once, and each in the audit log. */
export class ExportService {
  readonly #pool: Pool;
  readonly #log: Logger;
  /** Streams under way, by project. */
  readonly #open = new Map<string, number>();

  constructor(pool: Pool, log: Logger) {
    this.#pool = pool;
    this.#log = log;
  }

  /**
   * Begins a stream.
   * @param from null begins an export of `kinds` (none is all), else it goes on there
   * @throws PortcullisError not_found (the project), invalid_argument (a place in another database), rate_limited (too many)
   */
  async begin(asked: Asked, from: ExportPlace | null, kinds: readonly ExportKind[]): Promise<ExportStream> {
    const { projectId } = asked;
    this.#enter(projectId);
    try {
      const place = await inTransaction(this.#pool, async (tx) => {
        await requireProject(tx, projectId);
        if (from !== null && !(await isOfThisDatabase(tx, from.snapshot))) {
          throw invalid('position', 'position is of another database: begin the export anew.');
        }
        const at = from ?? firstPlace(await takeSnapshot(tx, projectId), kinds);
        await audit(tx, asked, 'export.begun', { kinds: [...at.kinds], resumed: from !== null });
        return at;
      });
      return new ExportStream(place, {
        write: (payload) => inTransaction(this.#pool, (tx) => audit(tx, asked, 'export.ended', payload)),
        over: (error) => {
          this.#leave(projectId);
          if (error === null) return;
          this.#log.error({ err: error, request_id: asked.requestId }, 'the end of an export is not in the audit log');
        },
      });
    } catch (error) {
      this.#leave(projectId);
      throw error;
    }
  }

  #enter(projectId: string): void {
    const open = this.#open.get(projectId) ?? 0;
    if (open >= exportsPerProjectMax) {
      throw new PortcullisError(
        'rate_limited',
        `${open} exports of this project are under way here, which is the limit: wait until one ends.`,
        { retryAfterS: 10, rule: 'control.exports' },
      );
    }
    this.#open.set(projectId, open + 1);
  }

  #leave(projectId: string): void {
    const left = (this.#open.get(projectId) ?? 1) - 1;
    if (left > 0) this.#open.set(projectId, left);
    else this.#open.delete(projectId);
  }
}

type EndPayload = { readonly complete: boolean; readonly records: Readonly<Record<string, number>> };

interface StreamEnd {
  /** Writes it to the audit log. */
  write(payload: EndPayload): Promise<void>;
  /** Called once, when it is written or cannot be. */
  over(error: unknown): void;
}

/** A stream of an export under way. */
export class ExportStream {
  /** Behind what was told. */
  place: ExportPlace;
  readonly #first: ExportPlace;
  readonly #end: StreamEnd;
  /** Of the writing of its end. */
  #ending: Promise<void> | null = null;

  constructor(place: ExportPlace, end: StreamEnd) {
    this.place = place;
    this.#first = place;
    this.#end = end;
  }

  /** Everything was told. @throws what keeps that from the audit log */
  async complete(): Promise<void> {
    const written = this.#write(true);
    // Should that fail, `break` is still to come.
    this.#ending = written.catch(() => void (this.#ending = null));
    await written;
    this.#end.over(null);
  }

  /** It ends here; without effect when it is over. Whoever reads has left, so that nobody can be told of what fails. */
  async break(): Promise<void> {
    await this.#ending;
    this.#ending ??= this.#write(false).then(
      () => this.#end.over(null),
      (error: unknown) => this.#end.over(error),
    );
    await this.#ending;
  }

  /** Not as a part of the request: it is written just the same when the client leaves meanwhile. */
  #write(complete: boolean): Promise<void> {
    const before = this.#first.counts;
    const told = Object.entries(this.place.counts).map(
      ([kind, count]) => [kind, count - (before[kind as ExportKind] ?? 0)] as const,
    );
    const records = Object.fromEntries(told.filter(([, count]) => count > 0));
    return outsideRequests(() => this.#end.write({ complete, records }));
  }
}

function audit(
  tx: Tx,
  { by, requestId, projectId }: Asked,
  action: Extract<AuditAction, `export.${string}`>,
  payload: Readonly<Record<string, JsonValue>>,
): Promise<void> {
  return appendAudit(tx, {
    actor: { kind: by.kind, id: by.id },
    action,
    target: projectId,
    projectId,
    requestId,
    payload,
  });
}
