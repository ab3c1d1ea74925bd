import { describe, expect, test } from 'vitest';
import { PortcullisError } from '../../base/errors.ts';
import { fault, refusal } from './failure.ts';

const gate = { credential: 'gate' } as const;
const caller = { credential: 'caller' } as const;
const verdict = (status: number, provider: typeof gate | typeof caller = gate) => {
  const { retriable, blamed } = refusal(status, {}, provider, 0);
  return [retriable, blamed];
};

describe('a refusal', () => {
  test.each([408, 429, 500, 501, 502, 503, 504, 529, 599])('%i may be tried again, and blames the target', (status) => {
    expect(verdict(status)).toEqual([true, true]);
  });

  test.each([400, 403, 404, 405, 409, 413, 415, 422, 425, 451])('%i is what the caller asked for', (status) => {
    expect(verdict(status)).toEqual([false, false]);
  });

  test("of the gate's account blames the target, of a caller's own it does not", () => {
    for (const status of [401, 402]) {
      expect(verdict(status)).toEqual([false, true]);
      expect(verdict(status, caller)).toEqual([false, false]);
    }
    expect(verdict(429, caller)).toEqual([true, false]);
    expect(refusal(429, { 'retry-after': '9' }, caller, 0)).toMatchObject({ retryAfterMs: 9_000, limited: false });
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
  test.each(['upstream_error', 'deadline_exceeded'] as const)('%s is the fault of the target', (code) => {
    expect(fault(new PortcullisError(code, 'x'), false)).toMatchObject({ retriable: true, blamed: true });
    expect(fault(new PortcullisError(code, 'x', { final: true }), true)).toMatchObject({ retriable: false });
  });

  test.each(['unavailable', 'rate_limited'] as const)('%s is so where the provider said it in its stream', (code) => {
    expect(fault(new PortcullisError(code, 'x'), true)).toMatchObject({ retriable: true, blamed: true });
    expect(fault(new PortcullisError(code, 'x'), false)).toMatchObject({ retriable: false, blamed: false });
  });

  test.each(['killed', 'unauthenticated', 'client_closed', 'budget_exceeded', 'invalid_argument', 'internal'] as const)(
    '%s is nobody else’s fault',
    (code) => expect(fault(new PortcullisError(code, 'x'), true)).toMatchObject({ retriable: false, blamed: false }),
  );
});
