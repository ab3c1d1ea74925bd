import type { Pool } from 'pg';
import { PortcullisError } from '../../base/errors.ts';
import { nameCharsMax, reasonCharsMax } from '../../base/limits.ts';
import { evaluationsPerRunMax } from '../../base/telemetry-limits.ts';
import { checkLine, invalid } from '../../identity/input.ts';
import type { Principal } from '../../identity/model.ts';
import { type Page, type PageRequest, readPage } from '../../identity/page.ts';
import { inTransaction, type Queryable, type Tx } from '../../pg/tx.ts';
import {
  countEvaluations,
  type Evaluation,
  findJudgedRun,
  findJudgingPerson,
  type JudgedRun,
  markForRecount,
  type Rating,
  selectEvaluations,
  selectRatings,
  writeEvaluation,
  writeRating,
} from './opinion-store.ts';

interface OfRun {
  readonly projectId: string;
  readonly runId: string;
}

/** What others than its agent say of a run: ratings of people, and scores of evaluators. */
export class Opinions {
  readonly #pool: Pool;

  constructor(pool: Pool) {
    this.#pool = pool;
  }

  /**
   * Rates a run that ended, in place of what the caller said of it before.
   * @throws PortcullisError invalid_argument, not_found, policy_denied (the caller's own work), conflict (it still runs)
   */
  async rate(by: Principal, asked: OfRun & { readonly rating: number; readonly comment: string }): Promise<Rating> {
    const { projectId, runId, rating } = asked;
    if (!Number.isInteger(rating) || rating < 1 || rating > 5) {
      throw invalid('rating', 'rating must be a whole number from 1 (worst) to 5 (best).');
    }
    const comment = checkLine('comment', asked.comment, 0, reasonCharsMax);
    return inTransaction(this.#pool, async (tx) => {
      const ratedBy = await requireJudge(tx, by, asked);
      const written = await writeRating(tx, projectId, { runId, ratedBy, rating, comment });
      await markForRecount(tx, projectId, runId);
      return written;
    });
  }

  /**
   * Keeps what an evaluator found of a run that ended, in place of what it found before. The name of an evaluator is of
   * whoever recorded for it first, run by run.
   * @param asked.score 0 to 1; kept in millionths
   * @throws PortcullisError invalid_argument, not_found, policy_denied (the caller's own work), conflict (it still runs,
   * another principal's evaluator, or too many evaluators)
   */
  async evaluate(
    by: Principal,
    asked: OfRun & { readonly evaluator: string; readonly score: number; readonly notes: string },
  ): Promise<Evaluation> {
    const { projectId, runId, score } = asked;
    const evaluator = checkLine('evaluator', asked.evaluator, 1, nameCharsMax);
    const notes = checkLine('notes', asked.notes, 0, reasonCharsMax);
    // NaN is not.
    if (!(score >= 0 && score <= 1)) throw invalid('score', 'score must be a number from 0 to 1.');
    const scorePpm = Math.round(score * 1_000_000);
    return inTransaction(this.#pool, async (tx) => {
      const recordedBy = await requireJudge(tx, by, asked);
      const written = await writeEvaluation(tx, projectId, { runId, evaluator, scorePpm, notes, recordedBy });
      if (!written) {
        throw new PortcullisError(
          'conflict',
          `Somebody else recorded for the evaluator "${evaluator}" of this run: take another name.`,
          { param: 'evaluator' },
        );
      }
      if ((await countEvaluations(tx, runId)) > evaluationsPerRunMax) {
        throw new PortcullisError('conflict', `${evaluationsPerRunMax} evaluators are the limit of a run.`);
      }
      await markForRecount(tx, projectId, runId);
      return written;
    });
  }

  /** By who gave them; an agent sees those of its own runs. @throws PortcullisError not_found, invalid_argument */
  async ratings(by: Principal, { projectId, runId }: OfRun, page: PageRequest): Promise<Page<Rating>> {
    await requireSeen(this.#pool, by, projectId, runId);
    return readPage(page, async (after, limit) =>
      (await selectRatings(this.#pool, runId, after, limit)).map((rating) => ({ ...rating, id: rating.ratedBy })),
    );
  }

  /** By name of evaluator; an agent sees those of its own runs. @throws PortcullisError not_found, invalid_argument */
  async evaluations(by: Principal, { projectId, runId }: OfRun, page: PageRequest): Promise<Page<Evaluation>> {
    await requireSeen(this.#pool, by, projectId, runId);
    return readPage(page, async (after, limit) =>
      (await selectEvaluations(this.#pool, runId, after, limit)).map((one) => ({ ...one, id: one.evaluator })),
    );
  }
}

/**
 * @returns who judges: a person, however they come, or a principal that is nobody's
 * @throws PortcullisError not_found, policy_denied, conflict
 */
async function requireJudge(tx: Tx, by: Principal, { projectId, runId }: OfRun): Promise<string> {
  const run = await requireSeen(tx, by, projectId, runId);
  const person = await findJudgingPerson(tx, projectId, by);
  // Whoever made an agent may have come by a token.
  const names = person ? [by.id, person.id, `${person.issuer}|${person.subject}`] : [by.id];
  if (by.agentId !== null || by.runId !== null || names.includes(run.answeredForBy)) {
    throw new PortcullisError(
      'policy_denied',
      'Neither an agent nor whoever answers for it, or made it, may judge its runs: ask somebody else to.',
      { rule: 'leaderboard.own_run' },
    );
  }
  if (run.hasEnded) return person?.id ?? by.id;
  throw new PortcullisError('conflict', 'The run still runs: what came of it can be judged when it has ended.');
}

/** To an agent another agent's run does not exist, and to a key that is bound to a run no other one. @throws PortcullisError not_found */
async function requireSeen(db: Queryable, by: Principal, projectId: string, runId: string): Promise<JudgedRun> {
  const run = await findJudgedRun(db, projectId, runId);
  const isSeen = (by.agentId === null || by.agentId === run?.agentId) && (by.runId === null || by.runId === runId);
  if (run && isSeen) return run;
  throw new PortcullisError('not_found', `There is no run "${runId.slice(0, 100)}" that you may see.`);
}
