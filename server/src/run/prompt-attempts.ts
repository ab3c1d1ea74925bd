import type { Pool } from 'pg';
import type { Clock } from '../base/clock.ts';
import { digestOf } from '../base/digest.ts';
import { PortcullisError } from '../base/errors.ts';
import { newId } from '../base/ids.ts';
import {
  attemptsMax,
  billedNanousdMax,
  billedTokensMax,
  clientIdCharsMax,
  modelNameCharsMax,
  nameCharsMax,
  provisionalAgeMsMax,
  provisionalPerAgentDayMax,
  provisionalSkewMs,
} from '../base/limits.ts';
import { checkLine, invalid } from '../identity/input.ts';
import type { Principal } from '../identity/model.ts';
import { type Page, type PageRequest, readPage } from '../identity/page.ts';
import { inTransaction, type Tx } from '../pg/tx.ts';
import type { PromptAttempt, Run, ToldAttempt } from './model.ts';
import {
  countProvisional,
  findProvisional,
  insertProvisional,
  isNumberTaken,
  lockReports,
  type PromptAttemptFilter,
  selectAttempts,
} from './prompt-attempt-store.ts';
import { isOthers, noSuchRun, reach } from './reach.ts';
import { findRun } from './store.ts';

/** What agents report of attempts that could not pass the gate. */
export class PromptAttempts {
  readonly #pool: Pool;
  readonly #clock: Pick<Clock, 'now'>;

  constructor(pool: Pool, clock: Pick<Clock, 'now'>) {
    this.#pool = pool;
    this.#clock = clock;
  }

  /**
   * Keeps what the calling agent tells. The same id with the same content again gives the record of the first time.
   * @throws PortcullisError policy_denied (no agent), invalid_argument (also for more attempts of a call than the run
   * allows), not_found (the run), conflict (that attempt was told under another id), idempotency_mismatch, rate_limited (too many that day)
   */
  async record(by: Principal, told: ToldAttempt): Promise<PromptAttempt> {
    const { agentId, projectId, personId, keyId } = by;
    if (agentId === null) {
      throw new PortcullisError(
        'policy_denied',
        "Attempts are reported by the agent that made them: use an agent's key.",
        {
          rule: 'provisional.agent',
        },
      );
    }
    const now = this.#clock.now();
    const attempt = checkTold({ ...told, runId: told.runId ?? by.runId }, now);
    const { runId } = attempt;
    const scope = runId === null ? null : reach(by, { id: runId, projectId });
    const fingerprint = fingerprintOf(attempt);
    return inTransaction(this.#pool, async (tx) => {
      await lockReports(tx, agentId);
      const known = await findProvisional(tx, agentId, attempt.clientId);
      if (known) return sameAgain(known, fingerprint);
      const run = scope && (await findRun(tx, scope));
      if (scope && run === null) throw noSuchRun(scope.id);
      await requireNumber(tx, agentId, attempt, run);
      await takePlace(tx, agentId, now);
      const promptVersion = run?.promptVersion ?? null;
      const kept = { ...attempt, id: newId('prv'), projectId, agentId, personId, keyId, promptVersion };
      return insertProvisional(tx, kept, fingerprint);
    });
  }

  /** Newest first; an agent's own alone, and of a key that is bound to a run, that run's. @throws PortcullisError invalid_argument */
  list(by: Principal, filter: PromptAttemptFilter, page: PageRequest): Promise<Page<PromptAttempt>> {
    const { agentId, runId } = filter;
    const own = { ...filter, agentId: by.agentId ?? agentId, runId: by.runId ?? runId };
    return readPage(page, async (beforeId, limit) =>
      isOthers(by.agentId, agentId) || isOthers(by.runId, runId)
        ? []
        : selectAttempts(this.#pool, own, beforeId, limit),
    );
  }
}

/** @throws PortcullisError invalid_argument, conflict */
async function requireNumber(tx: Tx, agentId: string, attempt: ToldAttempt, run: Run | null): Promise<void> {
  const { attemptNumber, callId } = attempt;
  const most = 1 + (run?.maxRetries ?? attemptsMax - 1);
  if (attemptNumber > most) {
    throw invalid(
      'attempt_number',
      `attempt_number must be from 1 to ${most}: no call of this run makes more attempts.`,
    );
  }
  if (!(await isNumberTaken(tx, agentId, attempt))) return;
  throw new PortcullisError(
    'conflict',
    `Attempt ${attemptNumber} of the call "${callId}" was told already, under another client_id.`,
    { param: 'attempt_number' },
  );
}

async function takePlace(tx: Tx, agentId: string, now: number): Promise<void> {
  if (await countProvisional(tx, agentId, dayOf(now), provisionalPerAgentDayMax)) return;
  throw new PortcullisError(
    'rate_limited',
    `An agent reports ${provisionalPerAgentDayMax} attempts a day (UTC) at most: go on tomorrow.`,
    { rule: 'provisional.day', retryAfterS: Math.ceil((Date.parse(dayOf(now)) + 86_400_000 - now) / 1000) },
  );
}

function sameAgain(
  { fingerprint, ...known }: PromptAttempt & { readonly fingerprint: Buffer },
  again: Buffer,
): PromptAttempt {
  if (fingerprint.equals(again)) return known;
  throw new PortcullisError(
    'idempotency_mismatch',
    `client_id "${known.clientId}" stands for another attempt that you reported: give this one an id of its own.`,
    { param: 'client_id' },
  );
}

function checkTold(told: ToldAttempt, now: number): ToldAttempt {
  const { startedAt } = told;
  if (startedAt > now + provisionalSkewMs)
    throw invalid('start_time', 'start_time lies in the future: check the clock.');
  if (startedAt < now - provisionalAgeMsMax) {
    throw invalid('start_time', `start_time must lie within the last ${provisionalAgeMsMax / 86_400_000} days.`);
  }
  return {
    ...told,
    clientId: checkLine('client_id', told.clientId, 1, clientIdCharsMax),
    callId: checkLine('call_id', told.callId, 1, clientIdCharsMax),
    attemptNumber: checkNumber(told.attemptNumber),
    provider: checkLine('provider', told.provider, 1, nameCharsMax),
    model: checkLine('model', told.model, 1, modelNameCharsMax),
    tokensInput: checkCount('input_tokens', told.tokensInput, billedTokensMax),
    tokensOutput: checkCount('output_tokens', told.tokensOutput, billedTokensMax),
    tokensCacheRead: checkCount('cache_read_tokens', told.tokensCacheRead, billedTokensMax),
    tokensCacheWrite: checkCount('cache_write_tokens', told.tokensCacheWrite, billedTokensMax),
    costUsd: checkCount('cost_nanousd', told.costUsd, billedNanousdMax),
  };
}

function checkNumber(attemptNumber: number): number {
  if (Number.isInteger(attemptNumber) && attemptNumber >= 1) return attemptNumber;
  throw invalid('attempt_number', 'attempt_number must be from 1 on.');
}

function checkCount(param: string, count: bigint, max: bigint): bigint {
  if (count >= 0n && count <= max) return count;
  throw invalid(param, `${param} must be from 0 to ${max}.`);
}

function fingerprintOf(told: ToldAttempt): Buffer {
  const { runId, callId, provider, model, outcome, attemptNumber, startedAt } = told;
  const { tokensInput, tokensOutput, tokensCacheRead, tokensCacheWrite, costUsd } = told;
  const amounts = [tokensInput, tokensOutput, tokensCacheRead, tokensCacheWrite, costUsd, startedAt, attemptNumber];
  return digestOf([runId, callId, provider, model, outcome, ...amounts.map(String)]);
}

/** The day in UTC, like 2026-11-22. */
function dayOf(ms: number): string {
  return new Date(ms).toISOString().slice(0, 10);
}
