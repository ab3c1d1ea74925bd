import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { PortcullisError } from '../base/errors.ts';
import { Flights, type Flight, type FlightLimits } from './flights.ts';
import type { CallSubject } from './model.ts';

const subject: CallSubject = {
  projectId: 'prj_a',
  agentId: 'agt_a',
  personId: null,
  keyId: 'key_a',
  runId: null,
  workflow: null,
  provider: null,
  models: [],
};
const roomy: FlightLimits = {
  maxPerProcess: 100,
  maxPerCaller: 100,
  queueMax: 0,
  queueWaitMs: 1000,
  bodyBytesMax: 1000,
};
const stop = new PortcullisError('killed', 'Stopped.');

interface Call {
  readonly aborts: PortcullisError[];
  readonly client: AbortController;
  readonly flight: Promise<Flight>;
}

function call(flights: Flights, caller = 'key_a', of: CallSubject = subject): Call {
  const aborts: PortcullisError[] = [];
  const client = new AbortController();
  const flight = flights.enter({ caller, subject: of, abort: (error) => aborts.push(error), gone: client.signal });
  flight.catch(() => undefined);
  return { aborts, client, flight };
}

describe('a call in flight', () => {
  test('is ended by the sweep after its scope was stopped, once', async () => {
    let stopped = '';
    const flights = new Flights(roomy, (s) => (s.agentId === stopped ? stop : null));
    const mine = call(flights);
    const other = call(flights, 'key_b', { ...subject, agentId: 'agt_b' });
    const [flight] = await Promise.all([mine.flight, other.flight]);
    expect(flights.sweep()).toHaveLength(0);
    stopped = 'agt_a';
    expect(flights.sweep()).toHaveLength(1);
    expect(flights.sweep()).toHaveLength(0);
    expect(mine.aborts).toEqual([stop]);
    expect(other.aborts).toEqual([]);
    // What was stopped stays stopped, also after a release.
    stopped = '';
    expect(() => flight.check()).toThrow(stop);
  });

  test('is refused when its scope was stopped before it entered, and leaves no trace', async () => {
    const flights = new Flights(roomy, () => stop);
    await expect(call(flights).flight).rejects.toBe(stop);
    expect(flights.size).toBe(0);
  });

  test('stops at its next check when its model becomes known and is stopped', async () => {
    const flights = new Flights(roomy, (s) => (s.models.includes('dear') ? stop : null));
    const flight = await call(flights).flight;
    flight.update({ runId: 'run_a' });
    expect(() => flight.update({ models: ['cheap', 'dear'] })).toThrow(stop);
    expect(flight.subject).toEqual({ ...subject, runId: 'run_a', models: ['cheap', 'dear'] });
    expect(flights.sweep()).toHaveLength(1);
  });

  test('takes room for its body, refused when the process has no more, and gives it back when it ends', async () => {
    const flights = new Flights({ ...roomy, bodyBytesMax: 10 }, () => null);
    const [one, two] = [await call(flights).flight, await call(flights).flight];
    one.takeBytes(4);
    one.takeBytes(4);
    two.takeBytes(2);
    expect(() => two.takeBytes(1)).toThrow(expect.objectContaining({ code: 'unavailable' }));
    one.end();
    one.end();
    two.takeBytes(8);
    expect(() => two.takeBytes(1)).toThrow('try again shortly');
  });

  test('is not aborted after it ended', async () => {
    const flights = new Flights(roomy, () => null);
    const { aborts, flight } = call(flights);
    (await flight).end();
    (await flight).end();
    flights.abortAll(stop);
    expect(aborts).toEqual([]);
    expect(flights.size).toBe(0);
  });
});

describe('concurrency', () => {
  test('above the limit of a caller is refused at once, whoever else is in flight', async () => {
    const flights = new Flights({ ...roomy, maxPerCaller: 2 }, () => null);
    const first = await call(flights).flight;
    await call(flights).flight;
    await call(flights, 'key_b').flight;
    await expect(call(flights).flight).rejects.toMatchObject({ code: 'rate_limited' });
    first.end();
    await expect(call(flights).flight).resolves.toBeDefined();
  });

  test('above the limit of the process waits in order, and what does not fit in the queue is refused', async () => {
    const flights = new Flights({ ...roomy, maxPerProcess: 1, queueMax: 2 }, () => null);
    const first = await call(flights).flight;
    const admitted: string[] = [];
    const second = call(flights, 'b').flight.then((flight) => (admitted.push('second'), flight));
    const third = call(flights, 'c').flight.then((flight) => (admitted.push('third'), flight));
    await expect(call(flights, 'd').flight).rejects.toMatchObject({ code: 'unavailable' });
    expect([flights.size, flights.waiting]).toEqual([1, 2]);
    first.end();
    (await second).end();
    await third;
    expect(admitted).toEqual(['second', 'third']);
  });

  test('that finds no place in time is refused', async () => {
    const flights = new Flights({ ...roomy, maxPerProcess: 1, queueMax: 1, queueWaitMs: 5 }, () => null);
    await call(flights).flight;
    await expect(call(flights, 'b').flight).rejects.toMatchObject({ code: 'unavailable' });
    expect(flights.waiting).toBe(0);
  });

  test('a waiting call leaves when its client does, when it is stopped, and when the process ends', async () => {
    let stopped = false;
    const flights = new Flights({ ...roomy, maxPerProcess: 1, queueMax: 3 }, (s) =>
      stopped && s.keyId === 'waits' ? stop : null,
    );
    await call(flights).flight;
    const leaves = call(flights, 'b');
    leaves.client.abort();
    await expect(leaves.flight).rejects.toMatchObject({ code: 'client_closed' });
    const killed = call(flights, 'c', { ...subject, keyId: 'waits' });
    stopped = true;
    expect(flights.sweep()).toHaveLength(1);
    await expect(killed.flight).rejects.toBe(stop);
    const drained = call(flights, 'd');
    flights.abortAll(stop);
    await expect(drained.flight).rejects.toBe(stop);
    expect(flights.waiting).toBe(0);
  });

  test('never passes its limits and loses no place, whatever the order of events', async () => {
    const limits: FlightLimits = {
      maxPerProcess: 3,
      maxPerCaller: 2,
      queueMax: 2,
      queueWaitMs: 60_000,
      bodyBytesMax: 0,
    };
    const event = fc.record({ kind: fc.constantFrom('enter', 'end', 'leave', 'stop'), pick: fc.nat(20) });
    await fc.assert(
      fc.asyncProperty(fc.array(event, { maxLength: 60 }), async (events) => {
        let stopping = false;
        const flights = new Flights(limits, () => (stopping ? stop : null));
        const calls: Call[] = [];
        const inFlight: Flight[] = [];
        for (const { kind, pick } of events) {
          if (kind === 'enter') {
            const entered = call(flights, `caller ${pick % 4}`);
            entered.flight.then((flight) => inFlight.push(flight)).catch(() => undefined);
            calls.push(entered);
          }
          if (kind === 'end') inFlight.splice(pick % (inFlight.length || 1), 1)[0]?.end();
          if (kind === 'leave') calls[pick % (calls.length || 1)]?.client.abort();
          if (kind === 'stop') {
            stopping = true;
            flights.sweep();
            stopping = false;
          }
          await new Promise((resolve) => setImmediate(resolve));
          expect(flights.size).toBe(inFlight.length);
          expect(flights.size).toBeLessThanOrEqual(limits.maxPerProcess);
          expect(flights.waiting).toBeLessThanOrEqual(limits.queueMax);
          // Nobody waits while there is a place.
          expect(flights.waiting === 0 || flights.size === limits.maxPerProcess).toBe(true);
        }
        flights.abortAll(stop);
        for (const flight of inFlight) flight.end();
        const full = Array.from({ length: limits.maxPerProcess }, (_, i) => call(flights, `after ${i}`).flight);
        for (const flight of await Promise.all(full)) flight.end();
      }),
      { numRuns: 200 },
    );
  });
});
