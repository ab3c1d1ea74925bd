import { once } from 'node:events';
import { afterAll, beforeAll, beforeEach, describe, expect, it, test } from 'vitest';
import { type ActiveRun, type RunOptions, RunState, withRun } from '../client/src/index.ts';
import { failureOf, refusal, ScriptedRuns } from './support/scripted-runs.ts';

// How runs of the client start and end, whatever the work does and whenever it is told to stop.

const gate = new ScriptedRuns();
beforeAll(() => gate.listen());
afterAll(() => gate.close());
beforeEach(() => gate.reset());

const options: RunOptions = { workflow: 'review', flushMs: 20 };

describe('the end of a run', () => {
  const boom = new TypeError('boom\nat line 2');

  it('is failed with what the work threw, and the caller gets that', async () => {
    const failure = await failureOf<Error>(withRun(gate.client(), options, () => Promise.reject(boom)));
    expect(failure).toBe(boom);
    expect(gate.finished).toMatchObject([
      { outcome: RunState.FAILED, summary: 'TypeError: boom at line 2', error: 'TypeError: boom\nat line 2' },
    ]);
  });

  it('has texts that fit in it', async () => {
    await withRun(gate.client(), options, (run) => void (run.summary = `two\nlines \u202e${'😀'.repeat(600)}`));
    await failureOf(withRun(gate.client(), options, () => Promise.reject(new Error('x'.repeat(1_000_000)))));
    expect(gate.finished[0]?.summary).toMatch(/^two lines {2}😀/u);
    expect(gate.finished[0]?.summary.length).toBeLessThanOrEqual(500);
    expect(gate.finished[1]?.error).toHaveLength(4_000);
  });

  it('is told of with everything that went wrong, the work first', async () => {
    gate.onEvents = () => {
      throw refusal('insufficient_scope');
    };
    gate.onFinish = () => {
      throw refusal('conflict');
    };
    const failure = await failureOf<AggregateError>(
      withRun(gate.client(), options, ({ event }) => {
        event({ type: 'a' });
        throw boom;
      }),
    );
    expect(failure).toBeInstanceOf(AggregateError);
    expect(failure.message).toBe('TypeError: boom\nat line 2');
    expect(failure.errors).toEqual([
      boom,
      expect.objectContaining({ code: 'insufficient_scope' }),
      expect.objectContaining({ code: 'conflict' }),
    ]);
  });

  it('is cancelled when the work is told to stop, and what the work says last is told', async () => {
    const controller = new AbortController();
    const failure = await failureOf<Error>(
      withRun(gate.client(), { ...options, signal: controller.signal }, async ({ event, signal }) => {
        setTimeout(() => controller.abort(new Error('SIGTERM')), 20);
        await once(signal, 'abort');
        event({ type: 'stopping' });
        throw boom;
      }),
    );
    expect(failure).toBe(boom);
    expect(gate.types).toEqual(['stopping']);
    expect(gate.finished).toMatchObject([{ outcome: RunState.CANCELLED, error: 'TypeError: boom\nat line 2' }]);
  });

  it('is cancelled also when the work does not stop', async () => {
    const controller = new AbortController();
    const running = withRun(gate.client(), { ...options, signal: controller.signal, stopMs: 30 }, () => {
      controller.abort(new Error('SIGTERM'));
      return new Promise<never>(() => undefined);
    });
    expect(await failureOf(running)).toMatchObject({
      code: 'cancelled',
      message: 'The run was told to stop: Error: SIGTERM',
    });
    expect(gate.finished).toMatchObject([{ outcome: RunState.CANCELLED }]);
  });

  it('is succeeded when the work was done before it had to stop', async () => {
    const controller = new AbortController();
    const { value } = await withRun(gate.client(), { ...options, signal: controller.signal }, () => {
      controller.abort();
      return 'done';
    });
    expect({ value, finished: gate.finished }).toMatchObject({
      value: 'done',
      finished: [{ outcome: RunState.SUCCEEDED }],
    });
    const late = withRun(gate.client(), { ...options, signal: controller.signal }, () => 'never');
    expect((await failureOf(late)).code).toBe('cancelled');
    expect(gate.finished).toHaveLength(1);
  });

  test.each<[string, unknown, string]>([
    ['an object that has no text', Object.create(null), 'What was thrown has no text.'],
    ['undefined', undefined, 'undefined'],
    [
      'an error whose message is no text',
      Object.assign(new Error(), { message: Symbol('no') }),
      'What was thrown has no text.',
    ],
    [
      'an error that cannot be read',
      Object.defineProperty(new Error('x'), 'message', {
        get: () => {
          throw boom;
        },
      }),
      'What was thrown has no text.',
    ],
  ])('comes when the work throws %s', async (_what, thrown, error) => {
    const failure = await failureOf<unknown>(
      withRun(gate.client(), { ...options, flushMs: 3_600_000 }, ({ event }) => {
        event({ type: 'a' });
        throw thrown;
      }),
    );
    expect(Object.is(failure, thrown)).toBe(true);
    expect(gate.types).toEqual(['a']);
    expect(gate.finished).toMatchObject([{ outcome: RunState.FAILED, error }]);
  });

  test.each([null, undefined, 7, Symbol('no'), Object.create(null), {}])(
    'comes when its summary is no text',
    async (summary) => {
      const set = (run: ActiveRun) => {
        run.event({ type: 'a' });
        (run as { summary: unknown }).summary = summary;
      };
      await withRun(gate.client(), options, set);
      const failing = withRun(gate.client(), options, (run) => {
        set(run);
        throw boom;
      });
      expect(await failureOf<Error>(failing)).toBe(boom);
      expect(gate.types).toEqual(['a', 'a']);
      expect(gate.finished).toMatchObject([{ outcome: RunState.SUCCEEDED }, { outcome: RunState.FAILED }]);
    },
  );

  it('waits for ever, or very long, where stopMs says so', async () => {
    for (const stopMs of [Infinity, 2 ** 40]) {
      const controller = new AbortController();
      const { value } = await withRun(gate.client(), { ...options, signal: controller.signal, stopMs }, async () => {
        controller.abort();
        await new Promise((resolve) => setTimeout(resolve, 100));
        return 'done';
      });
      expect(value).toBe('done');
    }
  });
});

describe('the start of a run', () => {
  it('during which it is told to stop is followed by its end, not by the work', async () => {
    const controller = new AbortController();
    gate.onStart = () => controller.abort(new Error('SIGTERM'));
    let called = false;
    const running = withRun(gate.client(), { ...options, signal: controller.signal }, () => {
      called = true;
    });
    expect(await failureOf(running)).toMatchObject({ code: 'cancelled' });
    expect(called).toBe(false);
    expect(gate.finished).toMatchObject([{ outcome: RunState.CANCELLED }]);
  });

  it('is given up stopMs after it is told to stop', async () => {
    const controller = new AbortController();
    let release = () => {};
    gate.onStart = () => {
      controller.abort(new Error('SIGTERM'));
      return new Promise<void>((resolve) => void (release = resolve));
    };
    const running = withRun(gate.client(), { ...options, signal: controller.signal, stopMs: 50 }, () => 'never');
    // The deadline of the call is 30 s, that of this test is not.
    expect(await failureOf(running)).toMatchObject({
      code: 'cancelled',
      message: 'The run was told to stop: Error: SIGTERM',
    });
    release();
    expect(gate.finished).toEqual([]);
  });

  it('has the key of the caller, under which it is found again', async () => {
    await withRun(gate.client(), { ...options, idempotencyKey: 'change-17, first try' }, () => undefined);
    await withRun(gate.client(), options, () => undefined);
    expect(gate.starts).toEqual(['change-17, first try', expect.stringMatching(/^[0-9a-f]{32}$/)]);
  });
});
