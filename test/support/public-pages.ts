import { systemClock } from '../../server/src/base/clock.ts';
import { RateLimiter } from '../../server/src/base/gcra.ts';
import { createLogger } from '../../server/src/base/log.ts';
import { createMetrics } from '../../server/src/base/metrics.ts';
import { registerAssets } from '../../server/src/http/pages/assets.ts';
import { registerPublicPages } from '../../server/src/http/public/routes.ts';
import { createHttpServer } from '../../server/src/http/server.ts';
import {
  type PublicBoard,
  PublicBoards,
  type PublicEntry,
} from '../../server/src/telemetry/leaderboard/public-board.ts';

/** The public pages behind a real listener, with no database at all, and a board that a test fills. */
export interface PublicSite {
  readonly url: string;
  show(board: PublicBoard): void;
  close(): Promise<void>;
}

export async function openPublicSite(): Promise<PublicSite> {
  const boards = new PublicBoards();
  const log = createLogger('silent');
  const metrics = createMetrics();
  const app = await createHttpServer(
    {
      log,
      metrics,
      publicUrl: null,
      allowedHosts: [],
      allowedOrigins: [],
      // Each test sits somewhere else.
      clientAddress: (_socket, forwardedFor) => forwardedFor ?? '127.0.0.1',
      clientCertificate: () => null,
      draining: () => false,
    },
    { kind: 'http1' },
  );
  registerAssets(app);
  await registerPublicPages(app, { boards, limiter: new RateLimiter(systemClock, 100), metrics, log });
  const url = await app.listen({ host: '127.0.0.1', port: 0 });
  return { url, show: (board) => boards.show(board), close: () => app.close() };
}

const unknown: PublicEntry = {
  rank: null,
  label: '',
  score: null,
  runs: 5,
  cancelled: 0,
  success: null,
  costPerSuccessNanousd: null,
  durationP50Ms: null,
  durationP95Ms: null,
  rating: null,
  evaluation: null,
};

export const entry = (some: Partial<PublicEntry>): PublicEntry => ({ ...unknown, ...some });

const fix: readonly PublicEntry[] = [
  entry({
    rank: 1,
    label: '2026-11 with tests first',
    score: 0.81,
    runs: 212,
    success: { rate: 0.89, low: 0.84, high: 0.92 },
    costPerSuccessNanousd: 410_000_000n,
    durationP50Ms: 184_000,
    durationP95Ms: 731_000,
    rating: 4.4,
    evaluation: 0.86,
  }),
  entry({
    rank: 2,
    label: '2026-10 plan, then patch',
    score: 0.74,
    runs: 148,
    success: { rate: 0.81, low: 0.74, high: 0.87 },
    costPerSuccessNanousd: 300_000_000n,
    durationP50Ms: 141_000,
    durationP95Ms: 4_802_000,
    rating: 3.9,
    evaluation: 0.71,
  }),
  entry({
    rank: 3,
    label: 'short',
    score: 0.52,
    runs: 61,
    success: { rate: 0.57, low: 0.45, high: 0.69 },
    costPerSuccessNanousd: 95_000_000n,
    durationP50Ms: 38_400,
    durationP95Ms: 92_100,
  }),
  entry({
    label: 'two reviewers',
    runs: 7,
    cancelled: 1_250,
    success: { rate: 1, low: 0.65, high: 1 },
    costPerSuccessNanousd: 1_200_000_000n,
    durationP50Ms: 402_000,
    durationP95Ms: 655_000,
  }),
];

const triage: readonly PublicEntry[] = [
  entry({
    rank: 1,
    label: 'v3',
    score: 0.9,
    runs: 1_840,
    success: { rate: 0.97, low: 0.96, high: 0.98 },
    costPerSuccessNanousd: 2_100_000n,
    durationP50Ms: 850,
    durationP95Ms: 2_240,
    evaluation: 0.93,
  }),
  entry({ label: 'v4', runs: 6 }),
];

const madeAt = Date.UTC(2026, 10, 23, 9, 30);

export const filledBoard: PublicBoard = {
  madeAt,
  workflows: [
    { title: 'Fix a failing test', windowDays: 30, entries: fix },
    { title: 'Triage of issues', windowDays: 30, entries: triage },
  ],
};

export const emptyBoard: PublicBoard = { madeAt, workflows: [] };

/** Nothing can be ranked; and a workflow of which nothing may be shown. */
export const thinBoard: PublicBoard = {
  madeAt,
  workflows: [
    {
      title: 'Translate',
      windowDays: 1,
      entries: [
        entry({ label: 'one', runs: 9, success: { rate: 0.5, low: 0.22, high: 0.79 } }),
        entry({ label: 'two' }),
      ],
    },
    { title: 'Write release notes', windowDays: 30, entries: [] },
  ],
};

/** As many workflows as a busy gate publishes. */
export const manyBoard: PublicBoard = {
  madeAt,
  workflows: Array.from({ length: 30 }, (_, at) => ({
    title: `${['Fix', 'Review', 'Translate', 'Summarize the weekly report of'][at % 4]} number ${at + 1}`,
    windowDays: 30,
    entries: at % 2 ? triage : fix,
  })),
};

export const markup = `"><script>alert(1)</script><img src=x onerror=alert(2)>'&lt;`;
/** Overrides, isolates and their ends, which would turn around or swallow what stands beside them. */
export const bidi = '\u202Eesrever \u2069\u2066\u2067 \u202Dforward\u202C\u2069\u200F עברית \u061C';
export const terminal = '\u001B[31mred\u001B[0m\u0007\u0008 \u009B2J';
export const longWord = 'W'.repeat(300);

const hostileTexts = [markup, bidi, terminal, longWord, '&amp;', '\u0301\u0301\u0301 zalgo', '👩‍👩‍👧‍👦', '\u2800\u3164'];

export const hostileBoard: PublicBoard = {
  madeAt,
  workflows: hostileTexts.map((title, at) => ({
    title,
    windowDays: 30,
    entries: hostileTexts.map((label, rank) => ({ ...(fix[(at + rank) % 3] ?? unknown), rank: rank + 1, label })),
  })),
};
