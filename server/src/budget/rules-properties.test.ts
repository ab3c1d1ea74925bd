import fc from 'fast-check';
import { expect, test } from 'vitest';
import type { Charge, Meter } from './model.ts';
import { admit } from './rules.ts';

// Calls are written as indexes into the meters, so that a failing example can be read.
interface Story {
  readonly meters: readonly Meter[];
  readonly calls: readonly (readonly { readonly at: number; readonly amount: bigint }[])[];
}

const amounts = fc.bigInt({ min: 0n, max: 60n });
const modes = fc.constantFrom('enforce' as const, 'dry_run' as const);

function metersOf(mode: fc.Arbitrary<'enforce' | 'dry_run'>): fc.Arbitrary<Meter> {
  return fc
    .record({
      limit: fc.option(fc.bigInt({ min: 0n, max: 100n })),
      mode,
      posted: amounts,
      held: amounts,
      leased: fc.constant(0n),
      accumulates: fc.boolean(),
      endsAt: fc.option(fc.integer({ min: 1, max: 5 })),
    })
    .map(({ limit, mode: chosen, ...rest }) => ({
      ...rest,
      budget: { id: 'bud_1', name: 'one', unit: 'usd', window: 'day', limit, mode: chosen },
    }));
}

const stories: fc.Arbitrary<Story> = fc.array(metersOf(modes), { minLength: 1, maxLength: 5 }).chain((meters) =>
  fc.record({
    meters: fc.constant(meters),
    calls: fc.array(
      fc.uniqueArray(fc.record({ at: fc.nat(meters.length - 1), amount: amounts }), {
        selector: ({ at }) => at,
        maxLength: meters.length,
      }),
      { maxLength: 12 },
    ),
  }),
);

function chargesOf({ meters, calls }: Story): Charge[][] {
  return calls.map((call) => call.map(({ at, amount }) => ({ meter: meters[at]!, amount })));
}

const admitted = (calls: readonly (readonly Charge[])[]) => admit(calls).map((verdict) => verdict.admitted);

test('a budget that is added as a dry run changes no verdict, wherever it stands', () => {
  fc.assert(
    fc.property(
      stories,
      metersOf(fc.constant('dry_run')),
      fc.array(amounts),
      fc.nat(),
      (story, shadow, asked, place) => {
        const calls = chargesOf(story);
        const watched = calls.map((charges, n) => {
          const at = place % (charges.length + 1);
          return [
            ...charges.slice(0, at),
            { meter: shadow, amount: asked[n % asked.length] ?? 1n },
            ...charges.slice(at),
          ];
        });
        expect(admitted(watched)).toEqual(admitted(calls));
      },
    ),
  );
});

test('a budget that is added as enforced admits nothing that was refused, where calls are seen one at a time', () => {
  fc.assert(
    fc.property(stories, metersOf(fc.constant('enforce')), amounts, (story, more, amount) => {
      for (const charges of chargesOf(story)) {
        const [before] = admitted([charges]);
        const [after] = admitted([[...charges, { meter: more, amount }]]);
        expect(after && !before).toBe(false);
      }
    }),
  );
});

test('the tightest wins: a call is let through when and only when each enforced budget alone lets it through', () => {
  fc.assert(
    fc.property(stories, (story) => {
      for (const charges of chargesOf(story)) {
        const alone = charges
          .filter(({ meter }) => meter.budget.mode === 'enforce')
          .map((charge) => admitted([[charge]])[0]);
        expect(admitted([charges])).toEqual([!alone.includes(false)]);
      }
    }),
  );
});

test('no limit refuses nothing, and a limit of 0 everything, whatever is asked', () => {
  fc.assert(
    fc.property(metersOf(fc.constant('enforce')), fc.array(amounts, { minLength: 1 }), (meter, asked) => {
      const of = (limit: bigint | null) => ({ ...meter, budget: { ...meter.budget, limit } });
      const open = of(null);
      const shut = of(0n);
      expect(admitted(asked.map((amount) => [{ meter: open, amount }]))).not.toContain(false);
      expect(admitted(asked.map((amount) => [{ meter: shut, amount }]))).not.toContain(true);
    }),
  );
});

test('the order of the budgets of a call changes neither its verdict nor which window it must wait for', () => {
  fc.assert(
    fc.property(stories, fc.infiniteStream(fc.nat()), (story, random) => {
      const shuffled = {
        ...story,
        calls: story.calls.map((call) =>
          call
            .map((charge) => ({ charge, key: random.next().value as number }))
            .sort((one, other) => one.key - other.key)
            .map(({ charge }) => charge),
        ),
      };
      const told = (calls: Charge[][]) =>
        admit(calls).map((verdict) => (verdict.admitted ? null : (verdict.shortfall.meter.endsAt ?? 'never')));
      expect(told(chargesOf(shuffled))).toEqual(told(chargesOf(story)));
    }),
  );
});

test('a refused call takes nothing: without it the others fare the same', () => {
  fc.assert(
    fc.property(stories, (story) => {
      const calls = chargesOf(story);
      const verdicts = admitted(calls);
      expect(admitted(calls.filter((_, n) => verdicts[n]))).not.toContain(false);
    }),
  );
});

test('what is in flight never passes the limit of an enforced budget that was within it', () => {
  fc.assert(
    fc.property(stories, (story) => {
      const calls = chargesOf(story);
      const verdicts = admitted(calls);
      for (const meter of story.meters) {
        const { limit, mode } = meter.budget;
        const before = meter.posted + meter.held;
        if (limit === null || mode === 'dry_run' || !meter.accumulates || before > limit) continue;
        const taken = calls
          .flatMap((charges, n) => (verdicts[n] ? charges : []))
          .filter((charge) => charge.meter === meter);
        expect(taken.reduce((sum, { amount }) => sum + amount, before) <= limit).toBe(true);
      }
    }),
  );
});
