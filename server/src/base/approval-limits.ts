/** The bounds of approvals (decision 0028), units last. */

// Canonical JSON of what is asked for, its nesting, and what people read of it
export const approvalWhatBytesMax = 128 * 1024;
export const approvalDepthMax = 64;
export const approvalSummaryCharsMax = 2_000;
export const approvalDiffCharsMax = 64 * 1024;
export const approvalActionCharsMax = 200;
// What a person says
export const approvalReasonCharsMax = 500;
export const approvalResponseCharsMax = 4_000;
// Who may decide
export const approvalGroupsMax = 10;
export const approvalGroupCharsMax = 320;
export const approvalQuorumMax = 10;
export const approvalRungsMax = 5;
export const approvalVotersMax = 100;
// Times
export const approvalExpiryMsMin = 1_000;
export const approvalExpiryMsMax = 30 * 86_400_000;
export const approvalExpiryMsDefault = 3_600_000;
export const approvalUseMsMax = 7 * 86_400_000;
export const approvalUseMsDefault = 15 * 60_000;
// Repeat grants
export const approvalGrantUsesMax = 1_000;
export const approvalGrantMsMax = 7 * 86_400_000;
// How long a rejection answers whoever asks the same again
export const rejectionStandsMs = 10 * 60_000;
// A held call: how often it may be asked for anew (edits, rules that change meanwhile), and when it comes back
export const heldCallRoundsMax = 8;
export const heldCallRetryS = 5;
// Requests that wait for somebody
export const approvalsPendingPerProjectMax = 1_000;
export const approvalsPendingPerRequesterMax = 100;
export const approvalsFullRetryS = 60;
// Waiting in one process, and how often the database is asked besides
export const approvalWaitsMax = 10_000;
export const approvalPollMs = 1_000;
export const approvalReconnectMs = 500;
// The sweep: how often, and what it takes in one transaction
export const approvalSweepEveryMs = 1_000;
export const approvalSweepBatchMax = 100;
export const approvalPurgeEveryMs = 3_600_000;
export const approvalsKeptMs = 400 * 86_400_000;
// People of a group who are told, and notices to them: how long one is claimed, and how often it is tried
export const approvalPeopleToldMax = 50;
export const approvalNoticeTriesMax = 8;
// Signed links (approval/links): the secrets that sign them, tokens, how long they hold, and how many of one person to one
// request do
export const hitlSecretBytesMin = 32;
export const hitlSecretsMax = 8;
export const linkTokenCharsMax = 1_024;
export const linkSecondsDefault = 24 * 3_600;
export const linkSecondsMin = 60;
export const linksPerPersonMax = 20;
export const linksKeptMs = 7 * 86_400_000;
// Pages (http/approvals): what one address may ask of links, what is shown, and forms with arguments in them, encoded
export const linkRequestsPerMinute = 120;
export const inboxShown = 50;
export const indentedCharsMax = 512 * 1024;
export const decisionFormBytesMax = 1024 * 1024;
export const mintBodyBytesMax = 4 * 1024;
// How often it is told that one person saw one request in one way, and how long the same is no news
export const viewsToldMax = 20;
export const viewNewsS = 3_600;
// Messages about requests (approval/channels): how often, tries of one, how long a try may take and stays claimed, pauses between
// tries, those sent at a time by one channel, those of one requester to one reader in an hour, and how long their rows stay
export const approvalMessageEveryMs = 1_000;
export const approvalMessageTriesMax = 6;
export const approvalMessageMs = 30_000;
export const approvalMessageLeaseMs = 120_000;
export const approvalMessagePausesMs: readonly number[] = [15_000, 60_000, 300_000, 900_000, 3_600_000];
export const approvalMessagesAtOnceMax = 8;
export const approvalMessagesPerHourMax = 60;
export const approvalMessagesKeptMs = 31 * 86_400_000;
export const approvalChatsMax = 20;
