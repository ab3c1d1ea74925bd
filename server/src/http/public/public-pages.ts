import type { PublicBoard, PublicBoards, PublicWorkflow } from '../../telemetry/leaderboard/public-board.ts';
import { type Link, renderPage } from '../pages/layout.ts';
import type { Rendering } from '../pages/rendering.ts';
import { boardPage } from './board-page.ts';
import { landingPage } from './landing-page.ts';

const signIn: Link = { href: '/sign-in', text: 'Sign in' };
const leaderboard: Link = { href: '/leaderboard', text: 'Leaderboard' };

/** The pages of the board in force, each made when it is first asked for and given to all who ask after. */
export class PublicPages {
  readonly #boards: Pick<PublicBoards, 'current'>;
  #board: PublicBoard | null = null;
  /** By what they show: there are as many as published workflows, and two. */
  readonly #made = new Map<'landing' | 'all' | PublicWorkflow, Rendering>();

  constructor(boards: Pick<PublicBoards, 'current'>) {
    this.#boards = boards;
  }

  landing(): Rendering {
    const { workflows } = this.#current();
    return this.#page('landing', () => landingPage(workflows.length > 0 ? [leaderboard, signIn] : [signIn]));
  }

  /** @param asked the title of one workflow, as a stranger wrote it; null when none of that title is published */
  board(asked: unknown): Rendering | null {
    const board = this.#current();
    const links = [{ ...leaderboard, isHere: true }, signIn];
    if (asked === undefined || asked === '') return this.#page('all', () => boardPage(board, null, links));
    const only = board.workflows.find(({ title }) => title === asked);
    return only ? this.#page(only, () => boardPage(board, only, links)) : null;
  }

  #current(): PublicBoard {
    const board = this.#boards.current();
    if (board !== this.#board) this.#made.clear();
    this.#board = board;
    return board;
  }

  #page(shown: 'landing' | 'all' | PublicWorkflow, make: () => ReturnType<typeof landingPage>): Rendering {
    const made = this.#made.get(shown) ?? renderPage(make());
    this.#made.set(shown, made);
    return made;
  }
}
