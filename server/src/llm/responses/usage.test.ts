import { describe, expect, test } from 'vitest';
import { listPrice } from '../terms.ts';
import { noUsage } from '../usage.ts';
import { createUsageWatcher, readUsage } from './usage.ts';
import { writeUsage } from './usage-writer.ts';

describe('the usage of a response', () => {
  test('is told by class, and reads back as it was written', () => {
    const usage = { input: 1, output: 9, cacheRead: 2, cacheWrite5m: 3, cacheWrite1h: 4, reasoning: 5 };
    expect(readUsage({ usage: writeUsage(usage) })).toEqual(usage);
    expect(readUsage({ usage: writeUsage({ ...usage, cacheWrite1h: 0 }) })).toMatchObject({
      ...usage,
      cacheWrite1h: 0,
    });
  });

  test('says on which terms it was served, and how often the provider searched', () => {
    const usage = writeUsage({ ...noUsage, input: 1, output: 1 });
    const search = { type: 'web_search_call', status: 'completed', action: { type: 'search', query: 'x' } };
    const output = [search, { ...search, action: { type: 'open_page', url: 'u' } }, { type: 'message' }, search];
    const terms = [{ field: 'service_tier', value: 'priority' }];
    const response = { usage, output, service_tier: 'priority' };
    expect(readUsage(response)).toMatchObject({ searches: 2, terms });
    const watcher = createUsageWatcher();
    watcher.event('response.completed', JSON.stringify({ type: 'response.completed', response }));
    expect(watcher.usage()).toMatchObject({ searches: 2, terms });
    expect(readUsage({ usage, service_tier: 'default' })?.terms).toEqual([{ field: 'service_tier', value: listPrice }]);
  });

  test.each([
    [null],
    [{}],
    [{ usage: null }],
    [{ usage: {} }],
    [{ usage: { input_tokens: -1, output_tokens: 1 } }],
    [{ usage: { input_tokens: 1.5, output_tokens: 1 } }],
    [{ usage: { input_tokens: 1, output_tokens: 1, input_tokens_details: { cached_tokens: 'x' } } }],
  ])('is unknown where it is none, or not credible: %j', (answer) => {
    expect(readUsage(answer)).toBeNull();
  });

  test('says so where it does not tell for how long the cache was written', () => {
    const details = { cached_tokens: 0, cache_write_tokens: 4 };
    const read = (rest: object) =>
      readUsage({ usage: { input_tokens: 5, output_tokens: 1, input_tokens_details: { ...details, ...rest } } });
    expect(read({})).toMatchObject({ cacheWrite5m: 4, untoldLifetime: true });
    expect(read({ cache_write_tokens_details: {} })?.untoldLifetime).toBeUndefined();
    expect(read({ cache_write_tokens: 0 })?.untoldLifetime).toBeUndefined();
  });

  test('has no more from the cache than there was', () => {
    const usage = {
      input_tokens: 5,
      output_tokens: 1,
      input_tokens_details: { cached_tokens: 9, cache_write_tokens: 9 },
    };
    expect(readUsage({ usage })).toEqual({ ...noUsage, cacheRead: 5, output: 1 });
  });
});

describe('a watcher of a stream', () => {
  const event = (type: string, rest: object = {}) =>
    [type, JSON.stringify({ type, sequence_number: 1, ...rest })] as const;
  const delta = event('response.output_text.delta', { item_id: 'm', delta: 'a "é"\n', logprobs: [] });
  const completed = event('response.completed', { response: { usage: { input_tokens: 3, output_tokens: 2 } } });

  test('counts the bytes of what was said, and sees the end and what was used', () => {
    const watcher = createUsageWatcher();
    watcher.event(...event('response.created', { response: { usage: null } }));
    watcher.event(...delta);
    expect(watcher).toMatchObject({ complete: false, outputBytes: Buffer.byteLength('a \\"é\\"\\n') });
    expect(watcher.usage()).toBeNull();
    watcher.event(...completed);
    expect(watcher).toMatchObject({ complete: true, failed: false, malformed: 0 });
    expect(watcher.usage()).toMatchObject({ input: 3, output: 2 });
  });

  test('needs no names of events', () => {
    const watcher = createUsageWatcher();
    watcher.event('', delta[1]);
    expect(watcher.outputBytes).toBeGreaterThan(0);
    watcher.event('', completed[1]);
    expect(watcher.complete).toBe(true);
  });

  test('counts whole items where no deltas come', () => {
    const watcher = createUsageWatcher();
    const [name, data] = event('response.output_item.done', { item: { type: 'message', content: [{ text: 'abc' }] } });
    watcher.event(name, data);
    expect(watcher.outputBytes).toBe(data.length);
  });

  test.each([
    ['response.failed', { response: { usage: { input_tokens: 3, output_tokens: 2 } } }],
    ['error', { message: 'x' }],
  ])('sees a failure: %s', (type, rest) => {
    const watcher = createUsageWatcher();
    watcher.event(...event(type, rest));
    expect(watcher).toMatchObject({ complete: false, failed: true });
  });

  test('is not taken in by what a model says of events', () => {
    const watcher = createUsageWatcher();
    watcher.event(...event('response.output_text.delta', { delta: completed[1] }));
    watcher.event(...event('response.output_item.done', { item: { content: [{ text: completed[1] }] } }));
    expect(watcher.complete).toBe(false);
  });

  test('an incomplete answer is at its end too, and an end that is no JSON is noted', () => {
    const watcher = createUsageWatcher();
    watcher.event('response.incomplete', '{"type":"response.incomplete",');
    expect(watcher).toMatchObject({ complete: false, malformed: 1 });
    watcher.event(...event('response.incomplete'));
    expect(watcher.complete).toBe(true);
  });
});
