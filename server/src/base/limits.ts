/**
 * Every bound of the system in one place, units last. What an operator may change is an option in `config/`;
 * what stands here is fixed, because something else relies on it.
 */

// Requests (design: "The gate", Limits)
export const modelBodyBytesMax = 32 * 1024 * 1024;
// A body that must be parsed whole, since its model speaks another dialect or is simulated
export const translatedBodyBytesMax = 4 * 1024 * 1024;
// Request bodies of all model calls in flight of a process
export const bodyBytesInFlightMax = 512 * 1024 * 1024;
export const userAgentCharsMax = 200;
export const urlBytesMax = 8 * 1024;
export const headerBytesMax = 16 * 1024;
export const jsonDepthMax = 64;
export const jsonMembersMax = 10_000;
export const watchedValuesMax = 64;
export const watchedValueBytesMax = 64;
export const headerTimeoutMs = 5_000;
// How often connections are looked at for what is too slow.
export const timeoutCheckMs = 1_000;
export const requestTimeoutMs = 60_000;
export const keepAliveIdleMs = 60_000;
// How long the rest of a refused body is read and thrown away (gateway/models/client-writer.ts)
export const unreadBodyMs = 2_000;
// How long a client may take nothing of an answer that is written to its end; on a stream of HTTP/2, where it may take
// the answer at no less than this rate besides
export const unreadAnswerMs = 30_000;
export const answerBytesPerSMin = 16 * 1024;
// Of one listener
export const connectionsMax = 10_000;
export const readinessMs = 2_000;
// HTTP/2 (http/transport.ts), per connection: streams at once, headers of one, settings of a frame, what may be wrong before it
// ends, resets by the client (CVE-2023-44487), and memory
export const http2StreamsMax = 256;
export const http2HeadersMax = 100;
export const http2SettingsMax = 32;
export const http2InvalidFramesMax = 100;
export const http2RefusedStreamsMax = 100;
export const http2ResetsBurst = 300;
export const http2ResetsPerS = 50;
export const http2SessionMemoryMb = 10;
export const tlsHandshakeMs = 5_000;
export const handshakeLogEveryMs = 1_000;

// Lists
export const pageSizeMax = 500;
export const pageSizeDefault = 50;
export const usageDefaultMs = 30 * 86_400_000;

// Node's timers have 32 bits
export const timerMsMax = 2 ** 31 - 1;
// How long a request of the control API may take, whatever deadline its client sets (api/deadline.ts)
export const controlDeadlineMsMax = 60_000;
// Requests of it that one principal may have in flight in a process (api/requests-in-flight.ts)
export const controlRequestsPerCallerMax = 100;
// Cancelling a statement of it (pg/cancel.ts): one request to cancel, and the pause before the next
export const cancelMsMax = 5_000;
export const cancelEveryMs = 250;

// One message of the control API (api/routes.ts)
export const controlRequestBytesMax = 1024 * 1024;
export const controlAnswerBytesMax = 2 * 1024 * 1024;
/** Up to where an answer of rows of any size is filled, by an estimate of them as JSON; and what JSON can make of one byte of a text: \u0001. */
export const filledAnswerBytesMax = 1_900_000;
export const escapedByteMax = 6;
export const violationsToldMax = 10;
// What anybody may ask over gRPC (api/health, api/reflection): a question, watches at once, and questions on a stream
export const probeBytesMax = 16 * 1024;
export const healthWatchesMax = 200;
export const healthWatchEveryMs = 500;
export const reflectionQuestionsMax = 1_000;

// Names that people choose
export const nameCharsMax = 100;
export const modelNameCharsMax = 200;
export const reasonCharsMax = 500;

// Control state
export const controlPollMs = 500;
export const controlReadMs = 5_000;
export const controlRetryMsMax = 2_000;
export const controlAgeMsMax = 10_000;
export const controlReachMs = 5_000;
export const killSwitchesPerProjectMax = 500;
// Each `*` multiplies what a look at a model's name can cost.
export const killWildcardsMax = 2;
// The longest that a stop can be made to last; of a drill: how long replicas may answer it, and the longest
export const killTtlMsMax = 10 * 366 * 86_400_000;
export const killDrillMsDefault = 60_000;
export const killDrillMsMax = 3_600_000;
// How long a second person may confirm that everything goes on
export const killReleaseAskedMs = 15 * 60_000;
// Acknowledgements of kill switches: those that wait for the database, how soon it is tried again, how long they are kept
export const killAcknowledgementsWaitingMax = 1_000;
export const killAcknowledgementRetryMs = 1_000;
export const killAcknowledgementsKeptMs = 90 * 86_400_000;
export const runsRunningPerAgentMax = 1_000;

// Policy: what conditions see of a call's arguments (policy/facts.ts). With these, a condition's worst case is known when it is saved.
export const argumentEntriesMax = 64;
export const argumentDepthMax = 8;
export const argumentKeyBytesMax = 256;
export const argumentTextBytesMax = 4_096;
/** All texts and names together in bytes, with {@link argumentValueSize} more for each value. */
export const argumentsSizeMax = 16 * 1024;
export const argumentValueSize = 16;
// What else conditions see of a call: a text, the entries of a list and each of them. An evaluation that meets more fails.
export const factTextCharsMax = 1_024;
export const factEntriesMax = 64;
export const factEntryCharsMax = 128;
// Policy: conditions (policy/cel). Costs are nanoseconds on the machine of docs/benchmarks/policy.md.
export const conditionCharsMax = 4_000;
export const conditionDepthMax = 40;
export const conditionCostNsMax = 500_000;
/** All rules of a document together: 5 ms, less what a first evaluation, a slower machine and a busy one take. */
export const policyCostNsMax = 1_500_000;
export const patternCharsMax = 200;
// The models of a call, fallbacks included, times the providers that may serve it
export const judgedResourcesMax = 64;
// A pattern is made into a table of states when it is saved: its entries, and the steps that making all of a condition's may take.
export const patternTableMax = 20_000;
export const patternStepsMax = 100_000;
/** All patterns of a document together: some 30 ms at its save and at its load. */
export const policyPatternStepsMax = 300_000;
// Rules are compiled for so many milliseconds until calls have a turn.
export const policyCompileTurnMs = 5;
// Conditions that stay compiled, by the characters and pattern steps of all: the largest document that there can be
export const conditionsKeptMax = 600_000;

// Failed credentials (identity/failures.ts)
export const failureAddressesMax = 10_000;
export const failureKeysPerAddressMax = 8;
export const failuresFree = 5;
export const failureWindowMs = 5 * 60_000;
export const failureDelayMaxS = 300;

// Rate limit buckets held in memory (base/gcra.ts)
export const bucketsMax = 50_000;

// Credentials
export const apiKeysPerProjectMax = 10_000;
export const keyLifetimeDefaultS = 90 * 86_400;
export const keyLifetimeMinS = 60;
export const keyLifetimeMaxS = 10 * 366 * 86_400;
export const keyOverlapDefaultS = 86_400;
export const keyOverlapMaxS = 30 * 86_400;
export const keyModelsMax = 100;
export const keyCidrsMax = 100;
export const tokenBytesMax = 16 * 1024;
export const clockSkewS = 30;
export const emailCharsMax = 254;
export const subjectCharsMax = 500;

// People who sign in (identity/sessions, identity/oidc). A session's last use is written no more often than it says
export const sessionIdleMs = 30 * 60_000;
export const sessionMaxMs = 12 * 3_600_000;
export const sessionUseEveryMs = 60_000;
export const sessionsPerPrincipalMax = 20;
// How long sessions that are over stay; the audit log has their ends
export const sessionKeptMs = 10 * 60_000;
export const signInMs = 10 * 60_000;
export const signInFetchS = 10;
// Steps of sign-ins of one address, behind which a whole office may sit
export const signInsPerMinute = 120;
export const signInBurst = 60;
export const providerFreshMs = 3_600_000;
export const returnPathCharsMax = 1_000;
export const formBytesMax = 20 * 1024;
export const teamsPerProjectMax = 1_000;
// No more than conditions see of a list (factEntriesMax).
export const teamsPerPersonMax = 64;

// Logins of the command line (identity/logins): a device code, those that wait at all and for one address, how often each may be
// asked about, and how long one that is over is still answered
export const deviceCodeMs = 10 * 60_000;
export const deviceCodesMax = 10_000;
export const deviceCodesPerAddressMax = 50;
export const deviceCodesPerSiteMax = 500;
export const devicePollS = 5;
export const devicePollSMax = 60;
export const deviceCodeKeptMs = 3_600_000;
export const clientNameCharsMax = 80;
// User codes that a session, and all at one address, may try
export const userCodesPerMinute = 10;
export const userCodesPerAddressPerMinute = 30;
// A key of a login, and how long the one before it holds besides
export const loginKeyS = 3_600;
export const loginKeyOverlapS = 300;
export const loginIdleMs = 30 * 86_400_000;
export const loginMaxMs = 90 * 86_400_000;
export const loginsPerPersonMax = 20;
// Keys of agents that the audit log names when the login that made them ends
export const auditedAgentKeysMax = 100;
// Who refreshes a moment after another with the same credential gets what that one got, and for longer while nobody has used it
export const refreshAtOnceMs = 10_000;
export const refreshAgainMs = 60_000;
export const refreshesPerMinute = 12;
// Requests of one address: for a device code, and for a token (those who wait ask every five seconds)
export const deviceRequestsPerMinute = 20;
export const tokenRequestsPerMinute = 240;
// Keys of an agent that it got for tokens of its issuer and that still hold
export const exchangedKeysPerAgentMax = 200;

// Access tokens (identity/jwt.ts, identity/jwks.ts)
export const verifiedTokensMax = 10_000;
// Digests of secrets that held (identity/api-key-verifier.ts)
export const verifiedKeysMax = 10_000;
export const refusedTokensMax = 10_000;
export const tokenVerdictMs = 60_000;
export const jwksBytesMax = 256 * 1024;
export const jwksKeysMax = 100;
export const jwksFreshMs = 15 * 60_000;
export const jwksFetchMs = 5_000;
export const jwksCooldownMs = 10_000;

// Request signatures (identity/signatures/): public keys of an API key, and what one signature may have
export const signingKeysPerKeyMax = 5;
export const signatureLifetimeS = 300;
export const signatureComponentsMax = 32;
// base64url: 128 to 512 bits
export const nonceCharsMin = 22;
export const nonceCharsMax = 86;
// Nonces of all signatures that still hold, and those of one signing key: 250 a second as long as they live
export const noncesMax = 1_000_000;
export const noncesPerKeyMax = 100_000;
export const noncesKeptMoreMs = 60_000;

// Client certificates (net/trust-bundle.ts, net/tls-files.ts, http/proxied-certificates.ts): authorities of a bundle, certificates
// between a leaf and one of them, how often the files are looked at, how long a change of them may take,
// and when one that does not hold is read again
export const authoritiesMax = 1_000;
export const chainLengthMax = 8;
export const tlsFilesEveryMs = 1_000;
export const tlsFilesSettleMs = 300;
export const tlsFilesAgainMs = 60_000;
// Certificates that proxies told of and that were verified, and the share of a certificate's life at which its end is warned of
export const proxiedCertificatesMax = 1_000;
export const certificateWarnShare = 0.2;
export const certificateWarnEveryMs = 30_000;

// Refusals in the audit log (identity/refusal-audit.ts)
export const refusalGroupsMax = 256;

// Streams
export const sseEventBytesMax = 8 * 1024 * 1024;
export const upstreamErrorBytesMax = 1024 * 1024;
export const upstreamAnswerBytesMax = 64 * 1024 * 1024;

// Requests as they are read (llm/): names of members, the fields read whole, other models that they name, stop sequences
export const jsonNameBytesMax = 1024;
/** A reasoning block's seal as callers carry it; encrypted reasoning is a few times the size of what was thought. */
export const sealBytesMax = 1024 * 1024;
/** What an answer of an Anthropic model may have where the caller sets no limit: that dialect demands one. */
export const outputTokensDefault = 32_000;
export const smallFieldBytesMax = 64 * 1024;
export const otherModelsMax = 16;
export const stopSequencesMax = 16;

// Translated answers (llm/): arguments of tool calls held back at a time, the calls of one answer, and all its blocks
export const toolArgumentsCharsMax = 8 * 1024 * 1024;
export const toolCallsPerAnswerMax = 128;
export const blocksPerAnswerMax = 2_000;

// Migrations (pg/migrate.ts)
export const migrationConnectMs = 10_000;
export const migrationLockMs = 5_000;
// A statement may have to change all rows of a table
export const migrationStatementMs = 24 * 3_600_000;
export const migrationWaitMs = 60_000;
// How often the copy of a large table says how far it is (pg/copy.ts)
export const copyProgressMs = 5_000;

// Embedded PostgreSQL (pg/embedded): its log, and as much again for the older part
export const embeddedLogBytesMax = 8 * 1024 * 1024;

// Money (budget/)
export const budgetsPerProjectMax = 100_000;
export const notifyPercentsMax = 10;
export const notifyPercentMax = 1_000;
// Budgets that near their limit (budget/notices.ts): counters remembered between two looks, notices of a look, of a transaction
export const touchedCountersMax = 20_000;
export const noticesFoundMax = 10_000;
export const noticesPerTransactionMax = 500;
export const noticesEveryMs = 1_000;
export const noticesSweepMs = 60_000;
export const noticesRetryMs = 5_000;
// What one call may use at most, a million USD in nano-USD, or tokens: thousands of them at once can be added up
export const callAmountMax = 10n ** 15n;
// Tokens of one call: thousands of times what any model takes, and sums of a thousand million calls still fit into 64 bits
export const callTokensMax = 10_000_000_000;
export const holdBatchMax = 500;
// Callers who are decided apart, after a refusal (budget/slow-callers.ts)
export const slowCallerMs = 1_000;
export const slowCallersMax = 10_000;
export const endingTriesMax = 5;
export const holdQueueMax = 5_000;
export const holdWaitMs = 5_000;
// A hold outlives its call by this much, so that the call can still be settled.
export const holdGraceMs = 30_000;
// What a model may have said between the last that was read of an aborted answer and its noticing that nobody reads
export const unreadTokensMax = 128;
export const settleWaitMs = 2_000;
export const settleQueueMax = 20_000;
export const countersKnownMax = 50_000;
export const ledgerLabelCharsMax = 200;
// The days of the ledger, of events and benchmarks (budget/retention.ts). The floor of a week stands in the database too
// (ledger_drop_day, telemetry_drop_day).
export const ledgerDaysAhead = 14;
export const ledgerDaysKeptMin = 7;
export const ledgerDaysKeptMax = 36_500;
export const ledgerDaysDroppedMax = 31;
export const ledgerDaysEveryMs = 3_600_000;
// What the start of a gate waits for them
export const ledgerDaysStartMs = 2_000;
// A day of ten billion rows is counted in it
export const ledgerDayCountMs = 3_600_000;
export const ledgerLockTriesMax = 20;
export const ledgerLockPauseMs = 1_000;
// An attempt's id is made in the moment that it starts, by the same clock; a run's may be another process's.
export const attemptIdMarginMs = 3_600_000;
export const runClockMarginMs = 86_400_000;
// How long holds stay that ended otherwise than by being deleted (decision 0014)
export const holdPostedKeptMs = 7 * 86_400_000;
export const holdAbandonedKeptMs = 86_400_000;

// Bills and what agents report themselves (reconciliation/)
export const billDocumentBytesMax = 64 * 1024 * 1024;
export const billDocumentsMax = 1_000;
export const billFiguresMax = 3_000;
export const billDaysMax = 400;
// Both hide nothing real, and their sums stay within a bigint.
export const billedNanousdMax = 1_000_000_000_000_000n;
export const billedTokensMax = 1_000_000_000_000n;
export const csvCellCharsMax = 2_000;
export const csvColumnsMax = 100;
export const driftToleranceBasisPoints = 100;
export const driftToleranceNanousd = 5_000_000_000n;
export const driftToleranceBasisPointsMax = 10_000;
// So many days of attempts are summed by one statement.
export const matchedDaysMax = 7;
export const driftsToldMax = 500;
export const provisionalPerAgentDayMax = 10_000;
export const provisionalAgeMsMax = 30 * 86_400_000;
export const provisionalSkewMs = 5 * 60_000;
export const clientIdCharsMax = 200;

// Leases (budget/leases): how long one stands without a flush, by the database's clock; when an unused one is given back
export const leaseMs = 10_000;
export const leaseIdleMs = 3_000;
// Slices that a process has at most, those of one flush, and how often one is given back for a call that lacks it
export const slicesMax = 2_000;
export const flushSlicesMax = 1_000;
export const leaseYieldMs = 1_000;
export const flushEveryMs = 50;
export const flushRowsMax = 1_000;
// More than this and calls take the strict path: a database that does not keep up must not fill the memory.
export const unflushedRowsMax = 20_000;

// The file of prices (config/price-file.ts, budget/prices/price-file.ts)
export const priceFileBytesMax = 16 * 1024 * 1024;
export const priceFileModelsMax = 20_000;
export const datedPricesMax = 32;
// What a price can be at most: what is dearer was meant for a thousand tokens, or a million
export const usdPerMillionTokensMax = 10_000;
export const usdPerUseMax = 100;
export const priceMultiplierMax = 100;
// The most answers that OpenAI documents for one call (chat `n`)
export const choicesMax = 128;

// Gate processes (budget/instances.ts)
export const instanceBeatMs = 5_000;
export const instanceDeadMs = 20_000;

// Answers that are kept to be given again (idempotency/, response-cache/)
export const idempotencyKeyCharsMax = 255;
export const idempotencyKeptMs = 24 * 3_600_000;
// A refusal cost nothing, and some that seem to be of the request are of the account (an unpaid one, say) or of the moment (a name
// that is taken).
export const idempotentRefusalKeptMs = 10 * 60_000;
// A claim outlives its call by this much: what is not ended by then has an unknown end.
export const idempotencyLeaseGraceMs = 60_000;
// Writes under a key whose callers wait for one another in memory (idempotency/write-turns.ts)
export const writesUnderWayMax = 10_000;
// Keys that could not be given back (idempotency/releases.ts)
export const releasesWaitingMax = 10_000;
export const releaseRetryMs = 1_000;
export const idempotentAnswerBytesMax = 8 * 1024 * 1024;
export const idempotentAnswersPerProjectMax = 100_000;
export const idempotentAnswersPerProjectBytesMax = 1024 * 1024 * 1024;
export const cacheTtlMaxS = 86_400;
export const cachedAnswerBytesMax = 1024 * 1024;
export const cacheEntriesPerProjectMax = 5_000;
export const cachePerProjectBytesMax = 256 * 1024 * 1024;
export const cacheQuarantinePerProjectMax = 20;
export const cacheQuarantineMs = 7 * 86_400_000;
export const keptAnswerWaitMs = 2_000;
export const purgeBatchMax = 1_000;
export const purgeEveryMs = 60_000;

// Output limits that are lowered to what fits in a budget (gateway/models/clamp.ts): a shorter answer would be of no use,
// and what is left of a budget can change between two tries.
export const clampedOutputTokensMin = 256;
// Where nobody knows how long an answer can be: providers refuse a limit that is larger than their model's.
export const clampedOutputTokensMax = 8_192;
export const clampTriesMax = 2;
// A body with another limit in it may be longer by this much.
export const clampedBodyBytesMore = 96;
// Official SDKs wait themselves for no longer than this, as Retry-After says (budget/refusal.ts)
export const clientWaitMaxS = 59;

// Attempts of a model call (gateway/models/attempts.ts)
export const attemptsMax = 10;
// With less time left than this no other is begun.
export const attemptMsMin = 100;
export const backoffBaseMs = 250;
export const backoffMsMax = 8_000;
// Retries of a route: one for every fifth call, and some for routes that are hardly used (gateway/models/retry-budget.ts)
export const retriesPerCall = 0.2;
export const retriesFloor = 10;
export const retriesFloorPerS = 0.5;
export const retriesSavedMax = 100;
// When a target is left alone (gateway/models/breaker.ts)
export const breakerFailuresMax = 5;
export const breakerOpenMs = 5_000;
export const breakerOpenMsMax = 60_000;
export const breakerRetryAfterMsMax = 30_000;
export const breakerProbesMax = 2;
// A probe keeps its place for this long: a whole answer may take minutes to tell anything.
export const breakerProbeMs = 1_000;
export const breakersMax = 5_000;

// Policy: documents (policy/document.ts), by their canonical form
export const policyRulesMax = 100;
// Versions that are newer than the one in force
export const policyDraftsMax = 200;
export const policyCapsMax = 100;
export const policyDocumentBytesMax = 256 * 1024;
export const approversMax = 50;
export const quorumMax = 20;
export const approvalExpiryMinS = 60;
export const approvalExpiryDefaultS = 3_600;
export const approvalExpiryMaxS = 30 * 86_400;
// Policy: what rules saw (policy/record-writer.ts). One recorded call, those that wait to be written, and those of one statement
export const policyRecordBytesMax = 64 * 1024;
export const policyRecordsWaitingMax = 10_000;
export const policyRecordsWaitingBytesMax = 32 * 1024 * 1024;
export const policyRecordsPerStatementMax = 500;
export const policyRecordsEveryMs = 250;
// How long the end of a process waits for them.
export const policyRecordsStopMs = 2_000;
// So many of a project are kept, whatever their age.
export const policyRecordsPerProjectMax = 200_000;
export const policyRecordDaysMax = 400;
// A simulation: recorded calls that it judges at most, those read at a time, and the answers that it shows
export const simulatedCallsMax = 100_000;
export const simulatedCallsPerPage = 1_000;
export const simulationRowsMax = 500;
export const simulationRowsDefault = 50;
// So many are under way in a process, of as many projects.
export const simulationsMax = 4;
// It gives way to calls after so many milliseconds of judging.
export const simulationTurnMs = 5;
export const simulationMsMax = 20_000;
