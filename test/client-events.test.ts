import { Code, ConnectError } from '@connectrpc/connect';
import fc from 'fast-check';
import { afterAll, beforeAll, beforeEach, describe, expect, it, test } from 'vitest';
import { toEvent } from '../client/src/event.ts';
import {
  type ActiveRun,
  PortcullisError,
  type RunEventInput,
  RunEventLevel,
  type RunEventOptions,
  type RunOptions,
  RunState,
  withRun,
} from '../client/src/index.ts';
import { PortcullisError as GateError } from '../server/src/base/errors.ts';
import { EventChecks } from '../server/src/run/event-input.ts';
import { away, failureOf, refusal, ScriptedRuns } from './support/scripted-runs.ts';

// What becomes of a run's events when the gate refuses them or is away.

const gate = new ScriptedRuns();
beforeAll(() => gate.listen());
afterAll(() => gate.close());
beforeEach(() => gate.reset());

const options: RunOptions = { workflow: 'review', flushMs: 20 };

describe('events of a run', () => {
  it('are told in order, each with an id of its own, before the run ends', async () => {
    const types = Array.from({ length: 1_234 }, (_, i) => `n.${i}`);
    gate.onFinish = () => expect(gate.types).toEqual(types);
    const { value, run, totals } = await withRun(gate.client(), options, (active) => {
      for (const type of types) active.event({ type });
      return active.headers;
    });
    expect({ value, state: run.state, cost: totals?.costNanousd }).toEqual({
      value: { 'x-portcullis-run': 'run_1' },
      state: RunState.SUCCEEDED,
      cost: 7n,
    });
    expect(Math.max(...gate.batches.map(({ length }) => length))).toBeLessThanOrEqual(500);
    expect(new Set(gate.batches.flat().map(({ clientId }) => clientId)).size).toBe(types.length);
  });

  it('are told in time while the work goes on, and at once when it asks', async () => {
    const seconds = Math.floor(Date.now() / 1_000) - 3_600;
    await withRun(gate.client(), options, async ({ event }) => {
      event({ type: 'a', level: 'warn', message: 'x', data: { n: 1 }, occurredAt: new Date(seconds * 1_000) });
      await expect.poll(() => gate.types).toEqual(['a']);
    });
    expect(gate.batches[0]?.[0]).toMatchObject({
      level: RunEventLevel.WARN,
      message: 'x',
      data: '{"n":1}',
      occurTime: { seconds: BigInt(seconds) },
    });
    await withRun(gate.client(), { ...options, flushMs: 3_600_000 }, async ({ event, flush }) => {
      event({ type: 'b' });
      await flush();
      expect(gate.types).toEqual(['a', 'b']);
    });
  });

  it('fit in what a gate takes: batches by bytes, messages clipped between characters', async () => {
    await withRun(gate.client(), options, ({ event }) => {
      for (let i = 0; i < 100; i++) event({ type: `n.${i}`, data: { text: 'x'.repeat(16_000) } });
      event({ type: 'long', message: 'é'.repeat(5_000) });
      event({ type: 'broken', message: 'half \ud83d' });
    });
    expect(gate.batches.length).toBeGreaterThanOrEqual(4);
    const [long, broken] = gate.batches.flat().slice(-2);
    expect(long?.message).toBe('é'.repeat(4_096));
    expect(broken?.message).toBe('half \ufffd');
  });

  it('wait while the gate is away, and are told when it is back, each once', async () => {
    let away = 5;
    gate.onEvents = () => {
      if (away-- > 0) throw new ConnectError('Away.', Code.Unavailable);
    };
    await withRun(gate.client(), options, async ({ event, flush }) => {
      event({ type: 'a' });
      expect((await failureOf(flush())).code).toBe('unavailable');
      event({ type: 'b' });
      await expect.poll(() => gate.types, { timeout: 20_000 }).toEqual(['a', 'b']);
    });
    expect(gate.types).toEqual(['a', 'b']);
  });
});

describe('an event that is refused', () => {
  const refuseC = (events: RunEventInput[]) => {
    const place = events.findIndex(({ type }) => type === 'c');
    if (place !== -1) throw refusal('invalid_argument', `events[${place}].type`);
  };
  const work = ({ event }: Pick<ActiveRun, 'event'>) => {
    for (const type of ['a', 'b', 'c', 'd', 'c', 'e']) event({ type });
    return 'done';
  };

  it('takes no other with it, and is told of at the end', async () => {
    gate.onEvents = refuseC;
    const failure = await failureOf(withRun(gate.client(), options, work));
    expect(failure).toMatchObject({ code: 'invalid_argument', message: '2 events were lost: It is refused.' });
    expect(gate.types).toEqual(['a', 'b', 'd', 'e']);
    expect(gate.finished).toMatchObject([{ outcome: RunState.SUCCEEDED }]);
  });

  it('is told to who asked for it, and the work has its value', async () => {
    gate.onEvents = refuseC;
    const lost: string[] = [];
    const onEventsLost = (error: PortcullisError) => void lost.push(error.message);
    expect((await withRun(gate.client(), { ...options, onEventsLost }, work)).value).toBe('done');
    expect(lost).toEqual(['2 events were lost: It is refused.']);
  });

  it('is also one that is no JSON, or came when too many waited', async () => {
    const circle: Record<string, unknown> = {};
    circle['self'] = circle;
    const lost = await failureOf(withRun(gate.client(), options, ({ event }) => event({ type: 'a', data: circle })));
    expect(lost).toMatchObject({
      code: 'invalid_argument',
      message: expect.stringMatching(/^1 event was lost: .*JSON/),
    });
    const many = await failureOf(
      withRun(gate.client(), options, ({ event }) => {
        for (let i = 0; i < 10_003; i++) event({ type: 'n' });
      }),
    );
    expect(many).toMatchObject({ code: 'resource_exhausted', message: expect.stringMatching(/^3 events were lost/) });
    expect(gate.batches.flat()).toHaveLength(10_000);
  });

  it('is one of a run that is over', async () => {
    const { value: event } = await withRun(gate.client(), options, (run) => run.event);
    expect(() => event({ type: 'late' })).toThrow(/The run is over/);
  });
});

describe('the queue of events', () => {
  it('sends nothing before the time that the gate named, however many events come', async () => {
    let tries = 0;
    gate.onEvents = () => {
      tries++;
      throw away(600_000);
    };
    const lost = await failureOf(
      withRun(gate.client(), options, async ({ event }) => {
        for (let i = 0; i < 60; i++) {
          for (let n = 0; n < 50; n++) event({ type: 'n' });
          await new Promise((resolve) => setTimeout(resolve, 10));
        }
        expect(tries).toBe(1);
      }),
    );
    // The end of the run tells what waits, whenever that is.
    expect(lost).toMatchObject({ code: 'unavailable', message: '3000 events were lost: Away.' });
    expect(tries).toBeGreaterThan(1);
  });

  it('pauses longer after each failure of a gate that names no time', async () => {
    const tries: number[] = [];
    gate.onEvents = () => {
      tries.push(performance.now());
      throw new ConnectError('Fault.', Code.Internal);
    };
    const flood = withRun(gate.client(), options, async ({ event }) => {
      while (tries.length < 3) {
        for (let n = 0; n < 20; n++) event({ type: 'n' });
        await new Promise((resolve) => setTimeout(resolve, 20));
      }
    });
    await failureOf(flood);
    const [first = 0, second = 0, third = 0] = tries;
    expect(second - first).toBeGreaterThanOrEqual(500);
    expect(third - second).toBeGreaterThanOrEqual(1_000);
  });

  it('gives a batch up of which event after event is refused', async () => {
    let tries = 0;
    gate.onEvents = () => {
      tries++;
      throw refusal('invalid_argument', 'events[0].occur_time');
    };
    const lost = await failureOf(
      withRun(gate.client(), options, ({ event }) => {
        for (let i = 0; i < 2_000; i++) event({ type: 'n' });
      }),
    );
    expect(lost).toMatchObject({ code: 'invalid_argument', message: '2000 events were lost: It is refused.' });
    expect(tries).toBeLessThan(50);
  });

  it('loses an event alone that the gate does not take, and tells the next ones', async () => {
    gate.onEvents = (events) => {
      if (events.some(({ type }) => type === 'poison')) throw new ConnectError('Too much.', Code.ResourceExhausted);
    };
    const lost: string[] = [];
    const onEventsLost = ({ message }: PortcullisError) => void lost.push(message);
    await withRun(gate.client(), { ...options, onEventsLost }, async ({ event, flush }) => {
      event({ type: 'poison' });
      await flush();
      event({ type: 'next' });
    });
    expect({ types: gate.types, lost }).toEqual({ types: ['next'], lost: ['1 event was lost: Too much.'] });
  });

  it('sends nothing by itself when its time is Infinity, and holds a very long one', async () => {
    for (const flushMs of [Infinity, 2 ** 40]) {
      gate.reset();
      await withRun(gate.client(), { workflow: 'w', flushMs }, async ({ event }) => {
        event({ type: 'a' });
        await new Promise((resolve) => setTimeout(resolve, 100));
        expect(gate.types).toEqual([]);
      });
      expect(gate.types).toEqual(['a']);
    }
  });
});

describe('an event is checked where it is told', () => {
  const hour = 3_600_000;
  const ago = (ms: number) => new Date(Date.now() - ms);
  const deep = (levels: number): object => (levels === 1 ? {} : { a: deep(levels - 1) });

  test.each<[string, unknown, RegExp]>([
    ['no event at all', null, /^An event must be an object/],
    ['no type', {}, /type of an event must be 1 to 100/],
    ['a type with blanks', { type: 'has spaces' }, /type of an event must be 1 to 100/],
    ['a long type', { type: 'x'.repeat(101) }, /type of an event must be 1 to 100/],
    ['a level that is none', { type: 'a', level: 'constructor' }, /level of an event must be info, warn or error/],
    ['a message that is no text', { type: 'a', message: null }, /message of an event must be text/],
    ['much data', { type: 'a', data: { text: 'x'.repeat(2 * 1024 * 1024) } }, /data of an event .* 16384 bytes/],
    ['data in bytes', { type: 'a', data: { text: 'é'.repeat(9_000) } }, /data of an event .* 16384 bytes/],
    ['a list as data', { type: 'a', data: [1] }, /data of an event must be an object/],
    ['deep data', { type: 'a', data: deep(33) }, /nested no deeper than 32 levels/],
    ['data that is no JSON', { type: 'a', data: { n: 1n } }, /data of an event cannot be written as JSON/],
    ['no date', { type: 'a', occurredAt: new Date('never') }, /occurredAt of an event must be a valid Date/],
    ['a text for a date', { type: 'a', occurredAt: '2026-01-01' }, /occurredAt of an event must be a valid Date/],
    ['an old date', { type: 'a', occurredAt: ago(31 * 24 * hour) }, /occurredAt of an event .* last 30 days/],
    ['a date to come', { type: 'a', occurredAt: ago(-hour) }, /occurredAt of an event .* 5 minutes/],
  ])('for %s', async (_what, event, sentence) => {
    const lost = await failureOf(
      withRun(gate.client(), options, (run) => {
        run.event({ type: 'before' });
        run.event(event as RunEventOptions);
        run.event({ type: 'after' });
      }),
    );
    expect(lost.code).toBe('invalid_argument');
    expect((lost.cause as Error).message).toMatch(sentence);
    expect(gate.types).toEqual(['before', 'after']);
  });

  it('as the gate checks it', () => {
    const text = fc.oneof(fc.string({ unit: 'binary' }), fc.constantFrom('é'.repeat(8_192), 'x'.repeat(16_384)));
    const event = fc.record({
      type: fc.oneof(fc.stringMatching(/^[A-Za-z0-9_.:/-]{0,110}$/), fc.string({ maxLength: 5 })),
      message: text,
      data: fc.option(
        fc.oneof(
          fc.dictionary(fc.string(), fc.jsonValue(), { noNullPrototype: true }),
          fc.integer({ min: 28, max: 36 }).map(deep),
          text.map((value) => ({ '[{"': value })),
          fc.integer({ min: 16_360, max: 16_390 }).map((length) => ({ text: 'x'.repeat(length) })),
        ),
        { nil: undefined },
      ),
    });
    const now = Date.now();
    const checks = new EventChecks('run_1', now);
    const takes = (check: () => unknown) => {
      try {
        check();
        return true;
      } catch (error) {
        if (error instanceof PortcullisError || error instanceof GateError) return false;
        throw error;
      }
    };
    const taken = { true: 0, false: 0 };
    fc.assert(
      fc.property(event, ({ type, message, data }) => {
        const told = { type, level: 'info' as const, occurredAt: now, clientId: null };
        const ours = { type, message, ...(data && { data }), occurredAt: new Date(now) };
        // Messages are clipped, here alone.
        const clipped = takes(() => toEvent(ours)) ? toEvent(ours).message : '';
        const json = data ? JSON.stringify(data) : null;
        const isTaken = takes(() => checks.check({ ...told, message: clipped, data: json }, 'event'));
        expect(takes(() => toEvent(ours))).toBe(isTaken);
        taken[`${isTaken}`]++;
      }),
      { numRuns: 500 },
    );
    expect(Math.min(taken.true, taken.false)).toBeGreaterThan(10);
  });
});
