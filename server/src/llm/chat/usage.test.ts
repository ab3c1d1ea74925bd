import { callTokensMax } from '../../base/limits.ts';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { listPrice } from '../terms.ts';
import { createUsageWatcher, readUsage } from './usage.ts';

const usage = {
  prompt_tokens: 2606,
  completion_tokens: 300,
  total_tokens: 2906,
  prompt_tokens_details: { cached_tokens: 2000, cache_write_tokens: 400 },
  completion_tokens_details: { reasoning_tokens: 64 },
};
const read = (given: object) => readUsage({ object: 'chat.completion', usage: given });

describe('the usage of a whole answer', () => {
  it('has every class once: the prompt includes what the cache gave and took', () => {
    expect(read(usage)).toEqual({
      input: 206,
      output: 300,
      cacheRead: 2000,
      cacheWrite5m: 400,
      cacheWrite1h: 0,
      reasoning: 64,
      untoldLifetime: true,
    });
    expect(read({ prompt_tokens: 5, completion_tokens: 7 })).toMatchObject({ input: 5, output: 7, cacheRead: 0 });
  });

  it('says on which terms it was served, where the answer does', () => {
    const served = (tier: unknown) => readUsage({ usage, service_tier: tier })?.terms;
    expect(served('priority')).toEqual([{ field: 'service_tier', value: 'priority' }]);
    expect(served('flex')).toEqual([{ field: 'service_tier', value: 'flex' }]);
    for (const usual of ['default', 'scale'])
      expect(served(usual)).toEqual([{ field: 'service_tier', value: listPrice }]);
    for (const untold of [undefined, null, 'auto', 7]) expect(served(untold)).toBeUndefined();
  });

  it('says it of a stream too, whose last chunks have it', () => {
    const watcher = createUsageWatcher();
    const chunk = (rest: object) => watcher.event('', JSON.stringify({ service_tier: 'priority', ...rest }));
    chunk({ choices: [{ index: 0, delta: { content: 'x' } }] });
    chunk({ choices: [{ index: 0, delta: {}, finish_reason: 'stop' }] });
    watcher.event('', JSON.stringify({ choices: [], usage }));
    expect(watcher.usage()).toMatchObject({ output: 300, terms: [{ field: 'service_tier', value: 'priority' }] });
  });

  it('adds the reasoning where the total shows that it is not within the output', () => {
    expect(read({ ...usage, total_tokens: 2970 })).toMatchObject({ output: 364, reasoning: 64 });
    const untold = { prompt_tokens: 50, completion_tokens: 10, total_tokens: 80 };
    expect(read(untold)).toMatchObject({ input: 50, output: 30, reasoning: 20 });
    for (const total of [undefined, 60, 59, 0, -5, '80', 2 ** 53])
      expect(read({ ...untold, total_tokens: total })).toMatchObject({ input: 50, output: 10, reasoning: 0 });
  });

  it('never has more in the cache than in the prompt', () => {
    expect(read({ ...usage, prompt_tokens: 2100 })).toMatchObject({ input: 0, cacheRead: 2000, cacheWrite5m: 100 });
    expect(read({ ...usage, prompt_tokens: 100 })).toMatchObject({ input: 0, cacheRead: 100, cacheWrite5m: 0 });
  });

  it('is null where nothing, or nothing credible, is reported', () => {
    for (const answer of [null, [], {}, { usage: null }, { usage: {} }, { usage: { total_tokens: 5 } }]) {
      expect(readUsage(answer)).toBeNull();
    }
    for (const wrong of [-1, 1.5, '5', Infinity, callTokensMax + 1]) {
      expect(read({ ...usage, prompt_tokens: wrong })).toBeNull();
      expect(read({ ...usage, prompt_tokens_details: { cached_tokens: wrong } })).toBeNull();
    }
  });
});

function watch(choices: number, ...chunks: readonly (object | string)[]) {
  const watcher = createUsageWatcher(choices);
  for (const chunk of chunks) watcher.event('', typeof chunk === 'string' ? chunk : JSON.stringify(chunk));
  return watcher;
}

const chunk = (delta: object, finish: string | null = null, index = 0) => ({
  id: 'chatcmpl-1',
  object: 'chat.completion.chunk',
  choices: [{ index, delta, logprobs: null, finish_reason: finish }],
  usage: null,
});
const last = { id: 'chatcmpl-1', object: 'chat.completion.chunk', choices: [], usage };

describe('a stream', () => {
  it('reports its usage in the last chunk', () => {
    const watcher = watch(
      1,
      chunk({ role: 'assistant', content: '' }),
      chunk({ content: 'Hi' }),
      chunk({}, 'stop'),
      last,
    );
    expect(watcher.usage()).toMatchObject({ input: 206, output: 300 });
    watcher.event('', '[DONE]');
    expect(watcher).toMatchObject({ complete: true, failed: false, malformed: 0 });
  });

  it('that reports with every chunk reports totals', () => {
    const running = (completion_tokens: number) => ({
      ...chunk({ content: 'x' }),
      usage: { prompt_tokens: 5, completion_tokens },
    });
    expect(watch(1, running(1), running(2), running(3)).usage()).toMatchObject({ input: 5, output: 3 });
  });

  it('reports usage as Python writes it, with spaces', () => {
    expect(watch(1, '{"choices": [], "usage": {"prompt_tokens": 5, "completion_tokens": 7}}').usage()).toMatchObject({
      input: 5,
      output: 7,
    });
  });

  it('without [DONE] is complete when every answer has its finish reason', () => {
    expect(watch(1, chunk({}, 'length'))).toMatchObject({ complete: true });
    expect(watch(2, chunk({}, 'stop', 0), chunk({}, 'stop', 0))).toMatchObject({ complete: false });
    expect(watch(2, chunk({}, 'stop', 0), chunk({}, 'stop', 1))).toMatchObject({ complete: true });
  });

  it('that is cut is not complete, and its usage is not known', () => {
    const watcher = watch(1, chunk({ content: 'Hello' }));
    expect(watcher).toMatchObject({ complete: false, failed: false, outputBytes: 5 });
    expect(watcher.usage()).toBeNull();
  });

  it('that ends in an error has failed, whatever comes after', () => {
    const error = { error: { message: 'out of memory', type: 'server_error' } };
    expect(watch(1, chunk({ content: 'x' }), error, '[DONE]')).toMatchObject({ complete: false, failed: true });
    const named = createUsageWatcher();
    named.event('error', '{"message":"no"}');
    expect(named.failed).toBe(true);
  });

  it('is not misled by what the model writes', () => {
    const text = '{"usage":{"prompt_tokens":9},"finish_reason":"stop","error":{"message":"x"},"delta":{"content":"y"}}';
    const watcher = watch(1, chunk({ content: text }));
    expect(watcher).toMatchObject({ complete: false, failed: false, malformed: 0 });
    expect(watcher.usage()).toBeNull();
    expect(watcher.outputBytes).toBe(JSON.stringify(text).length - 2);
  });

  it('counts an event that is no JSON, and goes on', () => {
    const watcher = watch(1, '{"finish_reason":"stop"', last);
    expect(watcher.malformed).toBe(1);
    expect(watcher.usage()).toMatchObject({ output: 300 });
  });

  it('shows at least as many output bytes as the model wrote, however the server writes its JSON', () => {
    const text = fc.string({ unit: fc.constantFrom('a', ' ', '"', '\\', '\n', '\0', 'é', '語', '😀', '\ud800') });
    const call = fc.record({ index: fc.nat(3), function: fc.record({ arguments: text }) });
    const delta = fc.record(
      {
        content: text,
        reasoning_content: text,
        tool_calls: fc.array(call, { maxLength: 2 }),
      },
      { requiredKeys: [] },
    );
    fc.assert(
      fc.property(fc.array(delta, { maxLength: 5 }), fc.nat(2), (deltas, indent) => {
        const texts = deltas.map((content) => JSON.stringify(chunk(content), null, indent));
        const written = deltas.flatMap(({ content, reasoning_content, tool_calls }) => {
          return [content ?? '', reasoning_content ?? '', ...(tool_calls ?? []).map((each) => each.function.arguments)];
        });
        expect(watch(1, ...texts).outputBytes).toBeGreaterThanOrEqual(Buffer.byteLength(written.join('')));
      }),
    );
  });
});
