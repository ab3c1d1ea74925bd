import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import type { Budget, Shortfall } from './model.ts';
import { budgetExceeded, runBudgetExceeded } from './refusal.ts';

/** What a budget says when it refuses, and whether it asks to be tried again. */

const now = Date.parse('2026-11-23T12:00:00Z');

beforeEach(() => {
  vi.useFakeTimers({ now });
});
afterEach(() => {
  vi.useRealTimers();
});

interface Case extends Partial<Pick<Budget, 'unit' | 'window'>> {
  readonly posted?: bigint;
  readonly held?: bigint;
  readonly amount?: bigint;
  readonly limit?: bigint;
  readonly endsInS?: number;
}

function shortfall({
  unit = 'tokens',
  window = 'lifetime',
  posted = 0n,
  held = 0n,
  endsInS,
  ...asked
}: Case): Shortfall {
  const { amount = 40n, limit = 100n } = asked;
  const budget = { id: 'bud_1', name: 'team', unit, window, limit, mode: 'enforce' } as const;
  const endsAt = endsInS === undefined ? null : now + endsInS * 1000;
  const meter = { budget, posted, held, leased: 0n, accumulates: window !== 'attempt', endsAt };
  return { meter, amount, observed: posted + held, limit };
}

const refusals: [string, Case, message: string, retryAfterS: number | undefined, final: boolean][] = [
  [
    'is spent',
    { posted: 80n, held: 1n },
    'Budget "team" allows 100 tokens in all: 80 tokens spent, 1 token held by calls in flight, and this call may take up to 40 tokens. An operator can raise it.',
    undefined,
    true,
  ],
  [
    'is held',
    { posted: 10n, held: 60n },
    'Budget "team" allows 100 tokens in all: 10 tokens spent, 60 tokens held by calls in flight, and this call may take up to 40 tokens. It fits when those have ended: try again soon. An operator can raise it.',
    1,
    false,
  ],
  [
    'is held by requests, which are not given back',
    { unit: 'requests', amount: 1n, limit: 2n, held: 2n },
    'Budget "team" allows 2 requests in all: 0 requests spent, 2 requests held by calls in flight, and this call may take up to 1 request. An operator can raise it.',
    undefined,
    true,
  ],
  [
    'ends today',
    { unit: 'usd', window: 'day', posted: 99n, endsInS: 43_200 },
    'Budget "team" allows $0.0000001 a day: $0.000000099 spent, $0.00 held by calls in flight, and this call may take up to $0.00000004. It resets at 2026-11-24T00:00:00.000Z; an operator can raise it before.',
    43_200,
    true,
  ],
  [
    'ends in a moment',
    { window: 'hour', posted: 99n, endsInS: 20 },
    'Budget "team" allows 100 tokens an hour: 99 tokens spent, 0 tokens held by calls in flight, and this call may take up to 40 tokens. It resets at 2026-11-23T12:00:20.000Z; an operator can raise it before.',
    20,
    false,
  ],
  [
    'is too small, whenever it ends',
    { window: 'hour', amount: 101n, endsInS: 20 },
    'Budget "team" allows 100 tokens an hour, and this call may take up to 101 tokens; ask for less output, or have an operator raise it.',
    undefined,
    true,
  ],
  [
    'has all its places taken',
    { unit: 'concurrent_requests', amount: 1n, limit: 2n, held: 2n },
    'Budget "team" allows 2 calls at once, and 2 are in flight. Try again soon; an operator can raise it.',
    1,
    false,
  ],
  [
    'has all its places of a run taken',
    { unit: 'concurrent_requests', window: 'run', amount: 1n, limit: 1n, held: 1n },
    'Budget "team" allows 1 call at once in a run, and 1 is in flight. Try again soon; an operator can raise it.',
    1,
    false,
  ],
  [
    'is 0',
    { limit: 0n, endsInS: 20 },
    'Budget "team" is 0 and denies this call; an operator can raise it.',
    undefined,
    true,
  ],
];

describe('a budget that', () => {
  test.each(refusals)('%s says so', (_what, known, message, retryAfterS, final) => {
    const error = budgetExceeded(shortfall(known));
    expect(error).toMatchObject({ code: 'budget_exceeded', message, final });
    expect(error.members.retryAfterS).toBe(retryAfterS);
  });

  test('refuses says what is spent, held and left, each by itself', () => {
    const { members } = budgetExceeded(shortfall({ posted: 50n, held: 60n }));
    expect(members).toMatchObject({ limit: '100', observed: '110', spent: '50', held: '60', remaining: '0' });
  });

  test('refuses with others speaks for itself, and tells of all what does not fit', () => {
    const one = shortfall({ posted: 80n });
    const other = shortfall({ posted: 90n });
    expect(budgetExceeded(one, [other]).shortfalls).toEqual([one, other]);
  });
});

const runs: [string, Case, help: string, retryAfterS: number | undefined][] = [
  ['is spent', { posted: 100n }, 'An operator can raise it.', undefined],
  [
    'ends soon',
    { window: 'hour', posted: 100n, endsInS: 50 },
    'It resets at 2026-11-23T12:00:50.000Z; an operator can raise it before.',
    50,
  ],
  [
    'is held',
    { posted: 10n, held: 90n, endsInS: 500 },
    'Calls in flight may give some of it back: try again soon. An operator can raise it.',
    1,
  ],
];

describe('a run is not started by a budget that', () => {
  test.each(runs)('%s, and it says so', (_what, known, help, retryAfterS) => {
    const error = runBudgetExceeded(shortfall({ ...known, amount: 1n }));
    expect(error.message).toContain(`all of which is spent or held: no run is started. ${help}`);
    expect(error.members.retryAfterS).toBe(retryAfterS);
    expect(error.final).toBe(retryAfterS === undefined);
  });

  test('is 0, whose window is no matter', () => {
    const error = runBudgetExceeded(shortfall({ limit: 0n, amount: 1n, window: 'hour', endsInS: 50 }));
    const help = 'is 0 and denies every call: no run is started. An operator can raise it.';
    expect(error).toMatchObject({ message: `Budget "team" ${help}`, final: true });
    expect(error.members).not.toHaveProperty('resetsAt');
  });
});
