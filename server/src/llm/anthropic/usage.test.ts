import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { listPrice } from '../terms.ts';
import { noUsage } from '../usage.ts';
import { createUsageWatcher, readUsage } from './usage.ts';

const usage = {
  input_tokens: 10,
  output_tokens: 5,
  cache_read_input_tokens: 100,
  cache_creation_input_tokens: 30,
  cache_creation: { ephemeral_5m_input_tokens: 10, ephemeral_1h_input_tokens: 20 },
  output_tokens_details: { thinking_tokens: 3 },
};
const read = (given: object) => readUsage({ type: 'message', usage: given });

describe('the usage of a whole answer', () => {
  it('has every class once', () => {
    expect(read(usage)).toEqual({
      input: 10,
      output: 5,
      cacheRead: 100,
      cacheWrite5m: 10,
      cacheWrite1h: 20,
      reasoning: 3,
    });
  });

  it('says on which terms it was served, and how often the provider searched', () => {
    const told = { ...usage, speed: 'fast', inference_geo: 'us', server_tool_use: { web_search_requests: 3 } };
    expect(read(told)).toMatchObject({
      searches: 3,
      terms: [
        { field: 'speed', value: 'fast' },
        { field: 'inference_geo', value: 'us' },
      ],
    });
    // Capacity that was paid in advance counts at the list price.
    expect(read({ ...usage, service_tier: 'priority', inference_geo: 'not_available' })?.terms).toEqual([
      { field: 'inference_geo', value: listPrice },
    ]);
    expect(read({ ...usage, server_tool_use: { web_search_requests: -1 } })).toBeNull();
  });

  it('counts cache writes without a split as the usual lifetime, and the rest of a split as the longest in use', () => {
    const untold = read({ ...usage, cache_creation: null });
    expect(untold).toMatchObject({ cacheWrite5m: 30, cacheWrite1h: 0, untoldLifetime: true });
    expect(read({ ...usage, cache_creation_input_tokens: 33 })).toMatchObject({ cacheWrite5m: 10, cacheWrite1h: 23 });
    expect(read({ ...usage, cache_creation_input_tokens: null })).toMatchObject({ cacheWrite5m: 10, cacheWrite1h: 20 });
  });

  it('adds what compactions and advisors used, which the totals leave out', () => {
    const iterations = [
      { type: 'message', input_tokens: 10, output_tokens: 5 },
      { type: 'compaction', input_tokens: 1000, output_tokens: 50, cache_read_input_tokens: 7 },
      { type: 'advisor_message', model: 'dear', input_tokens: 200, output_tokens: 20 },
      { type: 'fallback_message', input_tokens: 10, output_tokens: 5 },
    ];
    expect(read({ ...usage, iterations })).toMatchObject({ input: 1210, output: 75, cacheRead: 107, cacheWrite1h: 20 });
  });

  it('is null where nothing, or nothing credible, is reported', () => {
    for (const answer of [null, 'x', {}, { usage: null }, { usage: {} }, { usage: { cache_read_input_tokens: 5 } }]) {
      expect(readUsage(answer)).toBeNull();
    }
    for (const wrong of [-1, 1.5, '5', Infinity, 2 ** 53]) {
      expect(read({ ...usage, input_tokens: wrong })).toBeNull();
      expect(read({ ...usage, cache_read_input_tokens: wrong })).toBeNull();
      expect(read({ ...usage, cache_creation: { ephemeral_1h_input_tokens: wrong } })).toBeNull();
    }
  });
});

type Event = readonly [name: string, data: object | string];

function watch(...events: readonly Event[]) {
  const watcher = createUsageWatcher();
  for (const [name, data] of events) watcher.event(name, typeof data === 'string' ? data : JSON.stringify(data));
  return watcher;
}

const start: Event = ['message_start', { type: 'message_start', message: { usage: { ...usage, output_tokens: 1 } } }];
const end = (given: object): Event => {
  return [
    'message_delta',
    { type: 'message_delta', delta: { stop_reason: 'end_turn', stop_sequence: null }, usage: given },
  ];
};
const stop: Event = ['message_stop', { type: 'message_stop' }];
const delta = (content: object): Event => {
  return ['content_block_delta', { type: 'content_block_delta', index: 0, delta: content }];
};

describe('a stream', () => {
  it('has reported nothing before it starts', () => {
    expect(watch(['ping', { type: 'ping' }])).toMatchObject({ complete: false, failed: false });
    expect(watch().usage()).toBeNull();
  });

  it('reports totals, which replace each other and never add', () => {
    const watcher = watch(start, end({ output_tokens: 20 }), end({ output_tokens: 55 }), stop);
    expect(watcher.usage()).toMatchObject({
      input: 10,
      output: 55,
      cacheRead: 100,
      cacheWrite5m: 10,
      cacheWrite1h: 20,
    });
    expect(watcher).toMatchObject({ complete: true, failed: false, malformed: 0 });
  });

  it('is right at the end where it was wrong at the start', () => {
    const empty: Event = ['message_start', { message: { usage: { input_tokens: 0, output_tokens: 0 } } }];
    const last = { input_tokens: 40, cache_read_input_tokens: 7, cache_creation_input_tokens: null, output_tokens: 9 };
    expect(watch(empty, end(last)).usage()).toEqual({ ...noUsage, input: 40, cacheRead: 7, output: 9 });
  });

  it('keeps the split of cache writes when only their total grows', () => {
    const watcher = watch(start, end({ output_tokens: 9, cache_creation_input_tokens: 45 }));
    expect(watcher.usage()).toMatchObject({ cacheWrite5m: 10, cacheWrite1h: 35 });
  });

  it('that is cut is not complete, and has what was reported until then', () => {
    const watcher = watch(start, delta({ type: 'text_delta', text: 'Hello' }));
    expect(watcher).toMatchObject({ complete: false, failed: false, outputBytes: 5 });
    expect(watcher.usage()).toMatchObject({ input: 10, output: 1 });
  });

  it('that ends in an error has failed, whatever comes after', () => {
    const error: Event = ['error', { type: 'error', error: { type: 'overloaded_error', message: 'Overloaded' } }];
    expect(watch(start, error, stop)).toMatchObject({ complete: false, failed: true });
  });

  it('counts an event that is no JSON, and goes on', () => {
    const watcher = watch(
      start,
      ['message_delta', '{"type":'],
      ['message_delta', '7'],
      end({ output_tokens: 8 }),
      stop,
    );
    expect(watcher).toMatchObject({ malformed: 2, complete: true });
    expect(watcher.usage()).toMatchObject({ output: 8 });
  });

  it('does not take the results of provider tools for output', () => {
    const result = { type: 'web_search_tool_result', tool_use_id: 't', content: [{ text: 'x'.repeat(5000) }] };
    const watcher = watch(['content_block_start', { type: 'content_block_start', index: 1, content_block: result }]);
    expect(watcher.outputBytes).toBe(0);
  });

  it('shows at least as many output bytes as the model wrote', () => {
    const text = fc.string({ unit: fc.constantFrom('a', ' ', '"', '\\', '\n', '\0', 'é', '語', '😀', '\ud800') });
    const content = fc.oneof(
      fc.record({ type: fc.constant('text_delta'), text }),
      fc.record({ type: fc.constant('thinking_delta'), thinking: text }),
      fc.record({ type: fc.constant('input_json_delta'), partial_json: text }),
    );
    fc.assert(
      fc.property(fc.array(content, { maxLength: 5 }), (deltas) => {
        const written = deltas.flatMap((each) => Object.values(each).slice(1)).join('');
        expect(watch(...deltas.map(delta)).outputBytes).toBeGreaterThanOrEqual(Buffer.byteLength(written));
      }),
    );
  });
});
