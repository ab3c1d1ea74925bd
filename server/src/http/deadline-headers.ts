import { timerMsMax } from '../base/limits.ts';

const msOf: Readonly<Record<string, number>> = { H: 3_600_000, M: 60_000, S: 1_000 };

/**
 * Shortens a client's deadline to what a timer can hold, since a timer fires at once for what is longer, and Connect sets
 * one. What is malformed stays, to be refused by whoever reads it; what the client signed are other headers than these.
 */
export function holdDeadline(headers: Headers): void {
  const [ms] = /^\d{1,10}$/.exec(headers.get('connect-timeout-ms') ?? '') ?? [];
  if (Number(ms) > timerMsMax) headers.set('connect-timeout-ms', String(timerMsMax));
  const [, digits, unit = ''] = /^(\d{1,8})([HMS])$/.exec(headers.get('grpc-timeout') ?? '') ?? [];
  // Eight digits are the most that the header may have (PROTOCOL-HTTP2, "Timeout").
  const most = `${Math.floor(timerMsMax / 1_000)}S`;
  if (Number(digits) * (msOf[unit] ?? 0) > timerMsMax) headers.set('grpc-timeout', most);
}
