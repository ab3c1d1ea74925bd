/**
 * Every bound of the system in one place, units last. What an operator may change is an option in `config/`;
 * what stands here is fixed, because something else relies on it.
 */

// Requests (design: "The gate", Limits)
export const bodyBytesMax = 10 * 1024 * 1024;
export const modelBodyBytesMax = 32 * 1024 * 1024;
export const urlBytesMax = 8 * 1024;
export const headerBytesMax = 16 * 1024;
export const jsonDepthMax = 64;
export const headerTimeoutMs = 5_000;
export const requestTimeoutMs = 60_000;
export const keepAliveIdleMs = 60_000;

// Lists
export const pageSizeMax = 500;
export const pageSizeDefault = 50;

// Names that people choose
export const nameCharsMax = 100;
export const reasonCharsMax = 500;

// Control state
export const controlPollMs = 500;

// Failed credentials (identity/brute-force.ts)
export const failureAddressesMax = 10_000;
export const failuresFree = 5;
export const failureWindowMs = 5 * 60_000;
export const failureDelayMaxS = 300;

// Rate limit buckets held in memory (base/gcra.ts)
export const bucketsMax = 50_000;

// Credentials
export const apiKeysPerProjectMax = 10_000;
export const tokenBytesMax = 16 * 1024;
export const clockSkewS = 30;

// Streams
export const sseEventBytesMax = 8 * 1024 * 1024;
export const upstreamErrorBytesMax = 1024 * 1024;
export const upstreamAnswerBytesMax = 64 * 1024 * 1024;
