import {
  webhookNoteCharsMax,
  webhookRetryBaseMs,
  webhookRetryMsMax,
  webhookTriesMax,
} from '../../base/inbound-limits.ts';

/** How often an event is tried, and how long it waits in between. */
export interface Retries {
  readonly triesMax: number;
  readonly baseMs: number;
}

/** Eight tries in some 35 minutes. */
export const retries: Retries = { triesMax: webhookTriesMax, baseMs: webhookRetryBaseMs };

/** Milliseconds to wait after a try failed, four times as long each time; null after the last. @param attempt from 1 */
export function pauseAfter(attempt: number, { triesMax, baseMs }: Retries): number | null {
  if (attempt >= triesMax) return null;
  return Math.min(baseMs * 4 ** (attempt - 1), webhookRetryMsMax);
}

/** An error as it is kept with an event: one line. */
export function noteOf(error: unknown): string {
  const text = error instanceof Error ? error.message : String(error);
  return text
    .replaceAll(/[\p{C}\p{Zl}\p{Zp}]+/gu, ' ')
    .toWellFormed()
    .slice(0, webhookNoteCharsMax)
    .toWellFormed();
}
