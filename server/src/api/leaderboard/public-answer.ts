import { create } from '@bufbuild/protobuf';
import { PortcullisError } from '../../base/errors.ts';
import {
  type GetPublicLeaderboardResponse,
  GetPublicLeaderboardResponseSchema,
} from '../../gen/portcullis/v1/leaderboard_pb.ts';
import {
  glanceAt,
  type PublicBoard,
  type PublicBoards,
  type PublicEntry,
  type PublicGlance,
} from '../../telemetry/leaderboard/public-board.ts';
import { toTimestamp } from '../time.ts';
import { given } from './messages.ts';

/** The answers of the board in force, each made when it is first asked for and given to all who ask after. */
export class PublicAnswers {
  readonly #boards: Pick<PublicBoards, 'current'>;
  #board: PublicBoard | null = null;
  /** By title; null is all. There are as many as published workflows, and one. */
  readonly #made = new Map<string | null, GetPublicLeaderboardResponse>();

  constructor(boards: Pick<PublicBoards, 'current'>) {
    this.#boards = boards;
  }

  /**
   * One workflow with all its entries; or all of them together.
   * @param title null is all
   * @throws PortcullisError not_found
   */
  of(title: string | null): GetPublicLeaderboardResponse {
    const board = this.#boards.current();
    if (board !== this.#board) this.#made.clear();
    this.#board = board;
    const made = this.#made.get(title) ?? publicAnswer(board, title);
    this.#made.set(title, made);
    return made;
  }
}

function publicAnswer(board: PublicBoard, title: string | null): GetPublicLeaderboardResponse {
  const shown = title === null ? glanceAt(board) : [oneOf(board, title)];
  return create(GetPublicLeaderboardResponseSchema, {
    workflows: shown.map(({ entries, all, ...rest }) => ({
      ...rest,
      entries: entries.map(entryMessage),
      truncated: entries.length < all,
    })),
    ...given('makeTime', toTimestamp(board.madeAt) ?? null),
  });
}

function oneOf({ workflows }: PublicBoard, title: string): PublicGlance {
  const one = workflows.find((workflow) => workflow.title === title);
  if (one) return { ...one, all: one.entries.length };
  throw new PortcullisError('not_found', 'No workflow of this title is published here.');
}

function entryMessage(entry: PublicEntry) {
  const { rank, label, score, runs, cancelled, success } = entry;
  return {
    ...given('rank', rank),
    label,
    ...given('score', score),
    runs: BigInt(runs),
    cancelled: BigInt(cancelled),
    successRate: success?.rate ?? 0,
    ...given('successInterval', success && { low: success.low, high: success.high }),
    ...given('costPerSuccessNanousd', entry.costPerSuccessNanousd),
    ...given('durationP50Ms', entry.durationP50Ms),
    ...given('durationP95Ms', entry.durationP95Ms),
    ...given('rating', entry.rating),
    ...given('evaluation', entry.evaluation),
  };
}
