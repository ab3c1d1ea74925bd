export const caughtJobs = ['rollups-attempts', 'rollups-events', 'leaderboard'] as const;

/** A job of the gate that has worked through all there was: one line on stdout for each, in this order. */
export interface Caught {
  readonly job: (typeof caughtJobs)[number];
  readonly seconds: number;
  readonly rssBeforeMib: number;
  readonly rssPeakMib: number;
  readonly rssAfterMib: number;
}
