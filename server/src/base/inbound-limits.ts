/** Bounds of webhooks that come in (webhook/inbound/, http/webhooks/). As in limits.ts, units last. */

export const webhookSourcesMax = 100;
export const webhookSecretsMax = 5;
export const webhookSecretCharsMin = 16;
export const webhookSecretCharsMax = 500;
// Of a secret in base64 (Standard Webhooks): what it decodes to
export const webhookSecretBytesMin = 16;
export const webhookToleranceDefaultS = 300;
export const webhookToleranceMaxS = 900;
// A body: what it may have unless its source says otherwise, and at most; how long it may take; those that are being read, together
export const webhookBodyBytesDefault = 1024 * 1024;
export const webhookBodyBytesMax = 25 * 1024 * 1024;
export const webhookBodyMs = 10_000;
export const webhookBodiesBytesMax = 64 * 1024 * 1024;
// What of it is kept apart
export const webhookHeaderCharsMax = 1_000;
export const webhookHeadersKeptMax = 20;
export const webhookIdCharsMax = 300;
export const webhookTypeCharsMax = 200;
export const webhookSignatureCharsMax = 4_000;
// A body that is larger is not parsed for its run, type or id.
export const webhookParsedBytesMax = 4 * 1024 * 1024;
// Events that wait: beyond it senders are asked to come again
export const webhookJobsMax = 100_000;
export const webhookJobsLookMs = 5_000;
// Processing: how often others' work is looked for, claims at a time (of those for which
// a sender must be asked, who may be slow, more: nothing is held while they wait) and how long one holds, tries of an event, and the first
// pause between them, of which each is four times the one before
export const webhookPollMs = 1_000;
export const webhookClaimMax = 5;
export const webhookAskingMax = 20;
export const webhookClaimMs = 20_000;
export const webhookTriesMax = 8;
export const webhookRetryBaseMs = 1_000;
export const webhookRetryMsMax = 15 * 60_000;
export const webhookNoteCharsMax = 500;
// Reading back what a sender's job has come to
export const statusReadMs = 10_000;
export const statusBytesMax = 64 * 1024;
// Callback paths of a project that hold, and for how long they do
export const callbacksPerProjectMax = 10_000;
export const callbackLifetimeDefaultS = 86_400;
export const callbackLifetimeMaxS = 7 * 86_400;
// How long an event is known again at least, and refusals stay
export const webhookKeysKeptDaysMin = 30;
export const webhookRefusalsKeptDays = 14;
export const webhookRefusalsEveryMs = 1_000;
