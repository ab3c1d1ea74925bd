import { describe, expect, test } from 'vitest';
import { type ErrorCode, PortcullisError } from '../../base/errors.ts';
import { fault, refusal } from './failure.ts';

const gate = { credential: 'gate' } as const;
const caller = { credential: 'caller' } as const;
const verdict = (status: number, provider: typeof gate | typeof caller = gate) => {
  const { retriable, blame } = refusal(status, {}, provider, 0);
  return [retriable, blame && (blame.doubtful ? 'perhaps' : 'blamed')];
};

describe('a refusal', () => {
  test.each([408, 500, 501, 502, 503, 504, 529, 599])('%i may be tried again, and blames the target', (status) => {
    expect(verdict(status)).toEqual([true, 'blamed']);
  });

  test('429 may be of one call that is too large for the account, or of all', () => {
    expect(verdict(429)).toEqual([true, 'perhaps']);
    expect(refusal(429, { 'retry-after': '9' }, gate, 0).blame).toEqual({ doubtful: true, restMs: 9_000 });
    expect(refusal(503, { 'retry-after': '9' }, gate, 0).blame).toEqual({ doubtful: false, restMs: null });
  });

  test.each([400, 403, 404, 405, 409, 413, 415, 422, 425, 451])('%i is what the caller asked for', (status) => {
    expect(verdict(status)).toEqual([false, null]);
  });

  test("of the gate's account blames the target, of a caller's own it does not", () => {
    for (const status of [401, 402]) {
      expect(verdict(status)).toEqual([false, 'blamed']);
      expect(verdict(status, caller)).toEqual([false, null]);
    }
    expect(verdict(429, caller)).toEqual([true, null]);
    expect(refusal(429, { 'retry-after': '9' }, caller, 0)).toMatchObject({ retryAfterMs: 9_000, blame: null });
  });

  test('is final where the provider says so', () => {
    expect(refusal(529, { 'x-should-retry': 'false' }, gate, 0).retriable).toBe(false);
    expect(refusal(400, { 'x-should-retry': 'true' }, gate, 0).retriable).toBe(false);
  });

  test.each([
    [{ 'retry-after': '7' }, 7_000],
    [{ 'retry-after': '0.25' }, 250],
    [{ 'retry-after': '7', 'retry-after-ms': '1500' }, 1_500],
    [{ 'retry-after': new Date(61_000).toUTCString() }, 60_000],
    [{ 'retry-after': new Date(0).toUTCString() }, 0],
    [{ 'retry-after': 'soon' }, null],
    [{ 'retry-after': '-5' }, null],
    [{ 'retry-after': ['1', '2'] }, null],
    [{}, null],
  ])('tells by %o when to ask again', (headers, ms) => {
    expect(refusal(429, headers, gate, 1_000).retryAfterMs).toBe(ms);
  });
});

describe('an error', () => {
  const unsent = { sent: false, streamed: true };
  const sent = { sent: true, streamed: true };
  const told = (code: ErrorCode, when = sent, final = false) => {
    const { retriable, blame } = fault(new PortcullisError(code, 'x', { final }), when);
    return [retriable, blame && (blame.doubtful ? 'perhaps' : 'blamed')];
  };

  test.each(['upstream_error', 'deadline_exceeded'] as const)('%s is the fault of the target', (code) => {
    expect(told(code, unsent)).toEqual([true, 'blamed']);
    expect(told(code, sent)).toEqual([true, 'blamed']);
  });

  test('a whole answer that is late may be as long as it was asked for', () => {
    expect(told('deadline_exceeded', { sent: true, streamed: false })).toEqual([true, 'perhaps']);
    expect(told('deadline_exceeded', { sent: false, streamed: false })).toEqual([true, 'blamed']);
  });

  test('of a budget that the attempt took too long for leads elsewhere, and blames nobody', () => {
    const error = new PortcullisError('deadline_exceeded', 'x', { rule: 'quick', final: true });
    expect(fault(error, sent)).toMatchObject({ retriable: true, onlyElsewhere: true, blame: null });
  });

  test('that would come again is of the call', () => {
    expect(told('upstream_error', sent, true)).toEqual([false, null]);
  });

  test.each([
    ['unavailable', 'blamed'],
    ['rate_limited', 'perhaps'],
  ] as const)('%s is so where the provider said it in its stream', (code, blame) => {
    expect(told(code, sent)).toEqual([true, blame]);
    expect(told(code, unsent)).toEqual([false, null]);
  });

  test.each(['killed', 'unauthenticated', 'client_closed', 'budget_exceeded', 'invalid_argument', 'internal'] as const)(
    '%s is nobody else’s fault',
    (code) => expect(told(code)).toEqual([false, null]),
  );
});
