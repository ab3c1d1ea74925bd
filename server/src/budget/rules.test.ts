import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { BudgetSelector, Charge, Meter, Spender } from './model.ts';
import { admit, counts } from './rules.ts';

const everyone: BudgetSelector = {
  teamId: null,
  personId: null,
  agentId: null,
  keyId: null,
  workflow: null,
  runId: null,
  providerType: null,
  provider: null,
  model: null,
};

const spender: Spender = {
  projectId: 'prj_1',
  teams: ['team_1', 'team_2'],
  personId: 'psn_1',
  agentId: 'agt_1',
  keyId: 'key_1',
  workflow: 'review',
  runId: 'run_1',
  providerType: 'api',
  provider: 'anthropic',
  model: 'claude-haiku-4-5',
};

describe('counts', () => {
  it.each<[string, Partial<BudgetSelector>, boolean]>([
    ['nothing: the whole project', {}, true],
    ['the agent', { agentId: 'agt_1' }, true],
    ['another agent', { agentId: 'agt_2' }, false],
    ['the person', { personId: 'psn_1' }, true],
    ['one of the teams', { teamId: 'team_2' }, true],
    ['another team', { teamId: 'team_3' }, false],
    ['a team, and another person of it', { teamId: 'team_1', personId: 'psn_2' }, false],
    ['the key', { keyId: 'key_2' }, false],
    ['the workflow', { workflow: 'review' }, true],
    ['the run', { runId: 'run_2' }, false],
    ['the kind of provider', { providerType: 'subscription' }, false],
    ['the provider', { provider: 'anthropic' }, true],
    ['a pattern of models', { model: 'claude-*' }, true],
    ['a pattern of other models', { model: 'gpt-*' }, false],
    ['two members, one of which differs', { agentId: 'agt_1', provider: 'openai' }, false],
  ])('looks at %s', (_, selector, expected) => {
    expect(counts({ selector: { ...everyone, ...selector }, window: 'day' }, spender)).toBe(expected);
  });

  it('leaves a call outside a run to no budget per run', () => {
    expect(counts({ selector: everyone, window: 'run' }, spender)).toBe(true);
    expect(counts({ selector: everyone, window: 'run' }, { ...spender, runId: null })).toBe(false);
  });
});

interface MeterSpec extends Partial<Omit<Meter, 'budget'>> {
  readonly limit?: bigint | null;
  readonly mode?: 'enforce' | 'dry_run';
  readonly unit?: 'usd' | 'requests';
}

function meter({ limit = 100n, mode = 'enforce', unit = 'usd', ...rest }: MeterSpec = {}): Meter {
  const budget = { id: 'bud_1', name: 'one', unit, window: 'day', limit, mode } as const;
  return { budget, posted: 0n, held: 0n, leased: 0n, accumulates: true, endsAt: null, ...rest };
}

const verdictsOf = (calls: readonly (readonly Charge[])[]) => admit(calls).map(({ admitted }) => admitted);

describe('admit', () => {
  it('fills a limit to the last unit, in the order of arrival', () => {
    const one = meter({ posted: 20n, held: 30n });
    const calls = [40n, 20n, 10n, 0n, 1n].map((amount) => [{ meter: one, amount }]);
    expect(verdictsOf(calls)).toEqual([true, false, true, true, false]);
  });

  it('holds a call on all its budgets or on none', () => {
    const wide = meter({ limit: 100n });
    const narrow = meter({ limit: 10n });
    const both = (amount: bigint) => [
      { meter: wide, amount },
      { meter: narrow, amount },
    ];
    expect(
      verdictsOf([both(11n), both(10n), both(1n), [{ meter: wide, amount: 90n }], [{ meter: wide, amount: 1n }]]),
    ).toEqual([false, true, false, true, false]);
  });

  it('lets nothing through a limit of 0, and anything where there is none', () => {
    expect(verdictsOf([[{ meter: meter({ limit: 0n }), amount: 0n }]])).toEqual([false]);
    expect(verdictsOf([[{ meter: meter({ limit: null, posted: 10n ** 18n }), amount: 10n ** 18n }]])).toEqual([true]);
  });

  it('lets nothing more through what is overrun', () => {
    expect(verdictsOf([[{ meter: meter({ posted: 101n }), amount: 0n }]])).toEqual([false]);
  });

  it('measures each call by itself where nothing accumulates', () => {
    const each = meter({ limit: 10n, accumulates: false });
    expect(verdictsOf([10n, 10n, 11n].map((amount) => [{ meter: each, amount }]))).toEqual([true, true, false]);
  });

  it('says what dry-run budgets would have refused, and counts on in them', () => {
    const shadow = meter({ limit: 10n, mode: 'dry_run' });
    const [first, second] = admit([[{ meter: shadow, amount: 8n }], [{ meter: shadow, amount: 8n }]]);
    expect(first).toEqual({ admitted: true, shadows: [] });
    expect(second).toEqual({ admitted: true, shadows: [{ meter: shadow, amount: 8n, observed: 8n, limit: 10n }] });
  });

  it('names, of several limits, the one whose window ends last', () => {
    const hour = meter({ limit: 10n, posted: 9n, endsAt: 1_000 });
    const day = meter({ limit: 10n, posted: 9n, endsAt: 24_000 });
    const ever = meter({ limit: 10n, posted: 9n, endsAt: null });
    const refusing = (...meters: Meter[]) => admit([meters.map((one) => ({ meter: one, amount: 2n }))])[0];
    expect(refusing(hour, day, hour)).toMatchObject({ shortfall: { meter: day } });
    expect(refusing(day, ever, hour)).toMatchObject({ shortfall: { meter: ever } });
  });

  it('names a limit that only calls in flight are in the way of last of all', () => {
    const busy = meter({ limit: 10n, posted: 1n, held: 9n, endsAt: null });
    const hour = meter({ limit: 10n, posted: 9n, endsAt: 1_000 });
    const requests = meter({ limit: 2n, unit: 'requests', held: 2n, endsAt: 500 });
    const tooLittle = meter({ limit: 1n, endsAt: 10 });
    const refusing = (...meters: Meter[]) => admit([meters.map((one) => ({ meter: one, amount: 2n }))])[0];
    expect(refusing(busy, hour)).toMatchObject({ shortfall: { meter: hour }, others: [{ meter: busy }] });
    expect(refusing(requests, busy)).toMatchObject({ shortfall: { meter: requests } });
    expect(refusing(hour, tooLittle, busy)).toMatchObject({ shortfall: { meter: tooLittle } });
    expect(refusing(busy)).toMatchObject({ shortfall: { meter: busy }, others: [] });
  });

  const specs = fc.array(
    fc.record({
      limit: fc.option(fc.bigInt({ min: 0n, max: 100n })),
      mode: fc.constantFrom('enforce' as const, 'dry_run' as const),
      posted: fc.bigInt({ min: 0n, max: 60n }),
      held: fc.bigInt({ min: 0n, max: 60n }),
    }),
    { minLength: 1, maxLength: 4 },
  );
  const asks = fc.array(fc.array(fc.tuple(fc.nat(3), fc.bigInt({ min: 0n, max: 40n })), { maxLength: 4 }), {
    maxLength: 30,
  });

  function callsOn(meters: readonly Meter[], asked: readonly (readonly [number, bigint][])[]): Charge[][] {
    return asked.map((charges) => {
      const byMeter = new Map(charges.map(([index, amount]) => [meters[index % meters.length]!, amount]));
      return [...byMeter].map(([one, amount]) => ({ meter: one, amount }));
    });
  }

  it('never takes an enforced budget past its limit, and never changes a verdict for a dry-run one', () => {
    fc.assert(
      fc.property(specs, asks, (meterSpecs, asked) => {
        const meters = meterSpecs.map(meter);
        const calls = callsOn(meters, asked);
        const verdicts = verdictsOf(calls);
        for (const one of meters) {
          const { limit, mode } = one.budget;
          if (mode === 'dry_run' || limit === null) continue;
          const taken = calls
            .flatMap((charges, i) => (verdicts[i] ? charges : []))
            .filter((charge) => charge.meter === one);
          const sum = taken.reduce((total, { amount }) => total + amount, one.posted + one.held);
          expect(taken.length === 0 || sum <= limit).toBe(true);
        }
        const enforced = calls.map((charges) => charges.filter((charge) => charge.meter.budget.mode === 'enforce'));
        expect(verdictsOf(enforced)).toEqual(verdicts);
      }),
    );
  });
});
