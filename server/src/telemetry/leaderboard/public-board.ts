import { publicEntriesTogetherMax, publicTogetherMax } from '../../base/telemetry-limits.ts';

/** What strangers see of one version, all of it aggregates of at least `publicRunsMin` runs, rounded. */
export interface PublicEntry {
  /** From 1; null where there is not enough data to rank it. */
  readonly rank: number | null;
  /** As it was registered, where that was confirmed: any characters. Otherwise "version" and digits of its digest. */
  readonly label: string;
  /** 0 to 1; null where it has no rank. */
  readonly score: number | null;
  /** Runs that succeeded or failed, as far as they were released (public-steps.ts). */
  readonly runs: number;
  /** Runs that were cancelled, which tell nothing of success. */
  readonly cancelled: number;
  /** 0 to 1, with Wilson's 95 % interval; null where no run succeeded or failed. */
  readonly success: { readonly rate: number; readonly low: number; readonly high: number } | null;
  /** Nano-USD; null where none succeeded. */
  readonly costPerSuccessNanousd: bigint | null;
  /** Null of fewer than `publicMedianRunsMin` that succeeded. */
  readonly durationP50Ms: number | null;
  /** Null of fewer than `publicP95RunsMin` that succeeded. */
  readonly durationP95Ms: number | null;
  /** Mean of 1 to 5; null where fewer than `publicRunsMin` runs were rated. */
  readonly rating: number | null;
  /** Mean of 0 to 1; null where fewer than `publicRunsMin` runs were evaluated. */
  readonly evaluation: number | null;
}

export interface PublicWorkflow {
  /** As the operator chose it who published it: any characters. */
  readonly title: string;
  /** How many days it is of, up to yesterday. */
  readonly windowDays: number;
  /** Ranked ones first, best first. */
  readonly entries: readonly PublicEntry[];
}

/** The public leaderboard: titles, labels and aggregates, and nothing else. */
export interface PublicBoard {
  /** Epoch milliseconds by the database's clock, of the workflow that was made longest ago; null before it was first made. */
  readonly madeAt: number | null;
  readonly workflows: readonly PublicWorkflow[];
}

/** The public leaderboard as this process made it last. Reading it reaches no database. */
export class PublicBoards {
  #current: PublicBoard = { madeAt: null, workflows: [] };

  current(): PublicBoard {
    return this.#current;
  }

  /** @param board what is shown from now on */
  show(board: PublicBoard): void {
    this.#current = board;
  }
}

/** A workflow beside others: with its first versions only. */
export interface PublicGlance extends PublicWorkflow {
  /** How many versions it has. */
  readonly all: number;
}

/**
 * All workflows together: each with its first few versions as long as they have room, so that they take up about the same
 * however full the board is.
 */
export function glanceAt({ workflows }: PublicBoard): PublicGlance[] {
  let room = publicTogetherMax;
  return workflows.map((workflow) => {
    const entries = workflow.entries.slice(0, Math.min(publicEntriesTogetherMax, room));
    room -= entries.length;
    return { ...workflow, entries, all: workflow.entries.length };
  });
}
