import type { Pool } from 'pg';
import type { Clock } from '../base/clock.ts';
import { digestOf } from '../base/digest.ts';
import { PortcullisError } from '../base/errors.ts';
import { newId } from '../base/ids.ts';
import {
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
import { dayOf } from './calendar-day.ts';
import type { ProvisionalAttempt, ToldAttempt } from './model.ts';
import {
  countProvisional,
  findProvisional,
  insertProvisional,
  lockReports,
  type ProvisionalFilter,
  runExists,
  selectProvisional,
} from './provisional-store.ts';

/** What agents report of calls that could not pass the gate. */
export class ProvisionalService {
  readonly #pool: Pool;
  readonly #clock: Pick<Clock, 'now'>;

  constructor(pool: Pool, clock: Pick<Clock, 'now'>) {
    this.#pool = pool;
    this.#clock = clock;
  }

  /**
   * Keeps what the calling agent tells. The same id with the same content again gives the record of the first time.
   * @throws PortcullisError policy_denied (no agent, or another run than the key's), invalid_argument, not_found (the run),
   * idempotency_mismatch, rate_limited (too many that day)
   */
  async record(by: Principal, told: ToldAttempt): Promise<ProvisionalAttempt> {
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
    if (by.runId !== null && told.runId !== null && told.runId !== by.runId) {
      throw new PortcullisError(
        'policy_denied',
        `This key is bound to the run ${by.runId}: it cannot report for another.`,
        {
          rule: 'key.run',
        },
      );
    }
    const now = this.#clock.now();
    const attempt = checkTold({ ...told, runId: told.runId ?? by.runId }, now);
    const fingerprint = fingerprintOf(attempt);
    return inTransaction(this.#pool, async (tx) => {
      await lockReports(tx, agentId);
      const known = await findProvisional(tx, agentId, attempt.clientId);
      if (known) return sameAgain(known, fingerprint);
      const { runId } = attempt;
      if (runId !== null && !(await runExists(tx, { runId, projectId, agentId }))) {
        throw new PortcullisError('not_found', `There is no run "${runId.slice(0, 100)}" of yours.`, {
          param: 'run_id',
        });
      }
      await takePlace(tx, agentId, now);
      return insertProvisional(tx, { ...attempt, id: newId('prv'), projectId, agentId, personId, keyId }, fingerprint);
    });
  }

  /** Newest first. @throws PortcullisError invalid_argument */
  list(filter: ProvisionalFilter, page: PageRequest): Promise<Page<ProvisionalAttempt>> {
    return readPage(page, (beforeId, limit) => selectProvisional(this.#pool, filter, beforeId, limit));
  }
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
  { fingerprint, ...known }: ProvisionalAttempt & { readonly fingerprint: Buffer },
  again: Buffer,
): ProvisionalAttempt {
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
    provider: checkLine('provider', told.provider, 1, nameCharsMax),
    model: checkLine('model', told.model, 1, modelNameCharsMax),
    tokensInput: checkCount('input_tokens', told.tokensInput, billedTokensMax),
    tokensOutput: checkCount('output_tokens', told.tokensOutput, billedTokensMax),
    tokensCacheRead: checkCount('cache_read_tokens', told.tokensCacheRead, billedTokensMax),
    tokensCacheWrite: checkCount('cache_write_tokens', told.tokensCacheWrite, billedTokensMax),
    costUsd: checkCount('cost_nanousd', told.costUsd, billedNanousdMax),
  };
}

function checkCount(param: string, count: bigint, max: bigint): bigint {
  if (count >= 0n && count <= max) return count;
  throw invalid(param, `${param} must be from 0 to ${max}.`);
}

function fingerprintOf(told: ToldAttempt): Buffer {
  const { tokensInput, tokensOutput, tokensCacheRead, tokensCacheWrite, costUsd } = told;
  const amounts = [tokensInput, tokensOutput, tokensCacheRead, tokensCacheWrite, costUsd, BigInt(told.startedAt)];
  return digestOf([told.runId, told.provider, told.model, told.outcome, ...amounts.map(String)]);
}
