import { webhookSignatureCharsMax } from '../../../base/inbound-limits.ts';
import type { ReceivedHeaders, Refusal } from '../model.ts';

/** A header that must be there once; of two one could be verified and the other believed. */
export function oneHeader(headers: ReceivedHeaders, name: string): string | Refusal {
  const lines = headers[name] ?? [];
  const [value] = lines;
  if (value === undefined || value === '') return { status: 'missing', reason: 'no_signature' };
  if (lines.length > 1) return { status: 'invalid', reason: 'repeated_header' };
  if (value.length > webhookSignatureCharsMax) return { status: 'invalid', reason: 'malformed' };
  return value;
}

export const malformed: Refusal = { status: 'invalid', reason: 'malformed' };

/**
 * The time that a header tells, in Unix seconds, where it is near enough to ours, before or after.
 * @returns its text as it was signed
 */
export function nearTime(text: string | Refusal, nowS: number, toleranceS: number): string | Refusal {
  if (typeof text !== 'string') return text.reason === 'no_signature' ? { status: 'missing', reason: 'no_time' } : text;
  // One way to write a number, so that none can be changed and still be it.
  if (!/^[1-9]\d{0,11}$/.test(text)) return malformed;
  return Math.abs(nowS - Number(text)) <= toleranceS ? text : { status: 'stale', reason: 'out_of_time' };
}

export function isRefusal(value: unknown): value is Refusal {
  return typeof value === 'object' && value !== null && 'status' in value;
}
