/** Bounds of what is recorded of runs and told of it: events, journal, export, rollups, leaderboard. As in limits.ts, units last. */

// The journal (journal/). A text that is escaped as JSON throughout (six bytes for one) still fits in an answer.
export const journalTitleBytesMax = 1_000;
export const journalTextBytesMax = 256 * 1024;
// What a caller writes into the journal of a project in a day (UTC): changes of tasks too
export const journalWritesPerDayMax = 10_000;
export const journalBytesPerDayMax = 64 * 1024 * 1024;
export const tagsMax = 20;
export const tagCharsMax = 50;
export const benchmarkLatencyMsMax = 30 * 86_400_000;

// Runs and what is told of them (run/)
export const runSummaryCharsMax = 500;
export const runErrorCharsMax = 4_000;
export const eventsPerBatchMax = 1_000;
export const eventsPerRunMax = 1_000_000;
// Where totals may be older than this, the events of a run are counted themselves.
export const eventsCountedWithinMs = 5 * 60_000;
export const eventMessageBytesMax = 8 * 1024;
export const eventDataBytesMax = 16 * 1024;
export const eventDataDepthMax = 32;
export const eventAgeMsMax = 30 * 86_400_000;
export const eventSkewMs = 5 * 60_000;
// The last words of a process come after the end of its run.
export const eventsAfterEndMs = 3_600_000;
// A page of events: those that it looks at, and the bytes of their texts. JSON can make six of each.
export const eventsLookedAtMax = 2_000;
export const eventPageBytesMax = 256 * 1024;
// Watches of runs (run/watches.ts): of a process, of one principal; the events read at a time; what says that a stream lives
export const runWatchesMax = 200;
export const runWatchesPerCallerMax = 20;
export const runWatchEveryMs = 1_000;
export const runWatchPageSize = 200;
export const runWatchAliveMs = 15_000;

// Exports (export/): rows that are read at once, of those that may be large fewer (events, versions of policies), runs whose
// opinions or events are looked for at once, and exports of a project that a process has at once
export const exportRowsMax = 500;
export const exportEventsMax = 200;
export const exportVersionsMax = 4;
export const exportRunsMax = 2_000;
export const exportEventRunsMax = 200;
export const exportsPerProjectMax = 8;

// The leaderboard (telemetry/leaderboard, telemetry/prompts): versions of a workflow, as many that nobody confirmed and as
// many others; evaluators of a run
export const promptVersionsPerWorkflowMax = 1_000;
export const evaluationsPerRunMax = 100;
// A board: days, versions (by model, where that is asked); runs, runs with opinions, and successes of which cost and time are
// told, that are enough to be ranked by
export const boardDaysDefault = 30;
export const boardDaysMax = 366;
export const boardEntriesMax = 2_000;
export const boardRunsMinDefault = 10;
export const opinionsMin = 5;
export const successesMin = 5;
// A comparison: the newest runs of each version, and tasks that are enough
export const comparedRunsMax = 20_000;
export const comparedTasksMin = 6;
// Counting what runs contribute to it (telemetry/leaderboard/count.ts): models that a workflow's runs are told apart by; the
// runs of a transaction, and transactions of a look
export const boardModelsMax = 100;
export const countedRunsPerBatchMax = 500;
export const countedBatchesMax = 20;
export const countRunsEveryMs = 1_000;
// What strangers see of it: runs, or runs with opinions, below which nothing of a version is shown; how often it is made; requests of one address
export const publicRunsMin = 5;
// Of fewer a percentile is, or is next to, that of a single run.
export const publicMedianRunsMin = 20n;
export const publicP95RunsMin = 100n;
export const publicEntriesMax = 100;
export const publicWorkflowsMax = 100;
export const publicWorkflowsPerProjectMax = 20;
export const publicBoardEveryMs = 30_000;
export const publicBoardLookEveryMs = 1_000;
export const publicReadsPerMinute = 300;
// Where all workflows are told together, each shows so many versions, and by itself the rest; all of them show so many at most
export const publicEntriesTogetherMax = 10;
export const publicTogetherMax = 200;

// Rollups (telemetry/rollups.ts): how often a process looks after them, unless another did so lately; rows of a transaction
export const rollupEveryMs = 1_000;
export const rollupRestMs = 900;
export const rollupRowsPerSliceMax = 2_000;
// A project's series that have the name of a model, and as many that have not: what else it would have is summed as one. It may
// not be raised: attempts that were summed without a name are corrected there.
export const rollupSeriesPerProjectMax = 10_000;
export const rollupMinutesKeptDays = 8;
export const rollupHoursKeptDays = 180;
export const rollupPurgeEveryMs = 3_600_000;
export const rollupPurgeRowsMax = 5_000;
// A summary: its window, parts of time, and runs that are counted by state
export const summaryDefaultMs = 86_400_000;
export const summaryDaysMax = 3_660;
export const summaryTimesMax = 1_500;
export const summaryRunsMax = 20_000;
// How many are made at once in a process, and of these for one principal
export const summariesMax = 4;
export const summariesPerCallerMax = 2;
