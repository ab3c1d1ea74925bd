/** Bounds of outbound webhooks (decision 0030), units last. Sources: Standard Webhooks 1.0, "Operational considerations". */

// The data of an event; with what is around it the body stays below 20 kB
export const eventBytesMax = 19_000;
// How long events and what became of them are kept
export const webhookKeptMs = 30 * 86_400_000;
export const webhookPurgeEveryMs = 60_000;
export const webhookPurgeBatchMax = 1_000;

// One attempt: its deadline, and what is read and kept of the answer
export const deliveryTimeoutMs = 15_000;
export const deliveryAnswerBytesMax = 16 * 1024;
export const deliveryAnswerCharsKept = 1_000;
// A claim that got no outcome for so long is another's: the deadline, and as long again for a process that is slow
export const deliveryClaimMs = 45_000;
// When the next attempt follows one that failed; after the last of them a delivery is dead
export const deliveryRetryMs: readonly number[] = [
  5_000,
  5 * 60_000,
  30 * 60_000,
  2 * 3_600_000,
  5 * 3_600_000,
  10 * 3_600_000,
  14 * 3_600_000,
  20 * 3_600_000,
  24 * 3_600_000,
];
export const deliveryJitter = 0.2;
// Retry-After is obeyed up to here
export const deliveryRetryAfterMsMax = 24 * 3_600_000;
// An endpoint at which nothing succeeded for so long is disabled
export const endpointFailingMsMax = 5 * 86_400_000;
// Failures that lie further apart than any two attempts of a schedule are not one failure
export const endpointFailureGapMs = 48 * 3_600_000;

// Deliveries of a process under way at once: those to endpoints that answer well, and those to others
export const deliveriesQuickMax = 192;
export const deliveriesSlowMax = 64;
// So many more at most may move from the first kind to the second while they wait for their answer
export const deliveriesMovedMax = 512;
// Of one endpoint, in the whole fleet: while it answers well, and else
export const endpointQuickMax = 16;
export const endpointSlowMax = 2;
// An answer that takes longer makes an endpoint a slow one, before it comes
export const endpointQuickMs = 2_000;
// One claim, and one write of outcomes
export const endpointsPerClaimMax = 64;
export const outcomesPerWriteMax = 200;
export const outcomesRetryMs = 1_000;
// How long an outcome waits for others, so that they are written together
export const outcomesGatherMs = 10;
// Events that are fanned out at a time, and deliveries made of them
export const eventsPerFanOutMax = 200;
export const deliveriesPerFanOutMax = 2_000;
// When another worker fans out, or a claim was given back without an attempt
export const fanOutRetryMs = 50;
export const deliveryGivenBackMs = 1_000;
// Opened secrets that are kept
export const openedSecretsMax = 1_000;
// How long deliveries under way may take to end when the process stops
export const deliveriesStopMs = 3_000;
// How often it is looked for what a notification was lost of
export const webhookPollMs = 1_000;
// Deliveries of disabled endpoints that are given up at a time, and what one redelivery takes
export const deliveriesGivenUpMax = 1_000;
export const redeliveriesMax = 1_000;

// Endpoints of a project that are not deleted
export const endpointsPerProjectMax = 20;
// Challenges of an endpoint (webhook/outbound/challenger.ts): the least between two, when the next follows one that failed, and
// the most that is read of an answer; how long a process has one, how many it sends at once, and of one project
export const challengeGapMs = 5_000;
export const challengeRetryMs: readonly number[] = [5_000, 30_000, 120_000, 600_000, 3_600_000];
export const challengeAnswerBytesMax = 4_096;
export const challengeLeaseMs = 45_000;
export const challengesMax = 32;
export const challengesPerProjectMax = 4;
export const challengeEveryMs = 500;
// How long the secrets before a rotation go on to sign
export const secretOverlapMs = 24 * 3_600_000;

// Keys that end are told of so long before, or when a quarter of their life is left if that is less
export const keyExpiringMs = 7 * 86_400_000;
export const keyExpiringEveryMs = 60_000;
export const keysExpiringMax = 500;
// How often it is looked which targets are not called
export const breakerWatchMs = 1_000;
