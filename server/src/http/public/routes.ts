import type { FastifyInstance, FastifyRequest } from 'fastify';
import { PortcullisError } from '../../base/errors.ts';
import type { RateLimiter } from '../../base/gcra.ts';
import { publicBoardEveryMs, publicReadsPerMinute } from '../../base/telemetry-limits.ts';
import type { Logger } from '../../base/log.ts';
import type { Metrics } from '../../base/metrics.ts';
import type { PublicBoards } from '../../telemetry/leaderboard/public-board.ts';
import { type Link, sendPublicPage } from '../pages/layout.ts';
import { sendMissing } from '../pages/missing.ts';
import { registerPages } from '../pages/pages.ts';
import { backToStart } from '../pages/problem-page.ts';
import { takeTurn } from '../rates.ts';
import { PublicPages } from './public-pages.ts';

export interface PublicOptions {
  readonly boards: Pick<PublicBoards, 'current'>;
  readonly limiter: RateLimiter;
  readonly metrics: Metrics;
  readonly log: Logger;
}

const backToBoard: Link = { href: '/leaderboard', text: 'To the leaderboard' };
const keptS = publicBoardEveryMs / 1000;

/** The pages for whoever comes by: made of what is in memory, the same for everybody, and limited by address. */
export async function registerPublicPages(app: FastifyInstance, options: PublicOptions): Promise<void> {
  const pages = new PublicPages(options.boards);
  const turn = (request: FastifyRequest) => takeTurn(options, request, 'public_page', publicReadsPerMinute);
  await registerPages(app, options.log, backToStart, (scope) => {
    scope.get('/', async (request, reply) => {
      turn(request);
      return sendPublicPage(request, reply, pages.landing(), keptS);
    });
    scope.get<{ Querystring: { workflow?: unknown } }>('/leaderboard', async (request, reply) => {
      turn(request);
      const page = pages.board(request.query.workflow);
      if (page === null) {
        const gone = new PortcullisError('not_found', 'No workflow of this title is published here.');
        return sendMissing(gone, request, reply, backToBoard);
      }
      return sendPublicPage(request, reply, page, keptS);
    });
  });
}
