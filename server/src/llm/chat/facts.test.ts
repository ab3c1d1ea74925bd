import { describe, expect, it } from 'vitest';
import { PortcullisError } from '../../base/errors.ts';
import { jsonDepthMax, otherModelsMax, smallFieldBytesMax } from '../../base/limits.ts';
import { editBody, scanObject } from '../json-scan.ts';
import { listPrice } from '../terms.ts';
import { readFacts, usageRequestEdit } from './facts.ts';

const scan = (body: Buffer) => scanObject(body, { depthMax: jsonDepthMax });

function factsOf(request: object) {
  const body = Buffer.from(JSON.stringify(request));
  return readFacts(body, scan(body));
}

function refusal(request: object): unknown {
  try {
    return factsOf(request);
  } catch (error) {
    return error instanceof PortcullisError ? [error.code, error.members.param] : error;
  }
}

const base = { model: 'gpt-6-astra', messages: [{ role: 'user', content: 'hi' }] };
const withParts = (...content: object[]) => factsOf({ ...base, messages: [{ role: 'user', content }] });

describe('plain facts', () => {
  it('are read from a request of text and functions', () => {
    const tools = [{ type: 'function', function: { name: 'f', parameters: { type: 'object' } } }];
    const request = {
      ...base,
      max_completion_tokens: 50,
      n: 3,
      stream: true,
      stream_options: { include_usage: true },
      tools,
    };
    expect(factsOf(request)).toMatchObject({
      model: 'gpt-6-astra',
      modelRange: { start: 9, end: 22 },
      stream: true,
      maxOutputTokens: 50,
      thinkingTokens: 0,
      choices: 3,
      usageRequested: true,
      messageCount: 1,
      toolCount: 1,
      media: { images: 0, documents: 0 },
      unbounded: [],
      mayReason: true,
    });
  });

  it('take null for absent', () => {
    expect(
      factsOf({ ...base, n: null, max_tokens: null, stream: null, stream_options: null, audio: null }),
    ).toMatchObject({
      choices: 1,
      maxOutputTokens: null,
      stream: false,
      usageRequested: false,
    });
  });

  it('bound the output by the larger limit, since servers differ in which one they obey', () => {
    expect(factsOf({ ...base, max_tokens: 10 }).maxOutputTokens).toBe(10);
    expect(factsOf({ ...base, max_completion_tokens: 20 }).maxOutputTokens).toBe(20);
    expect(factsOf({ ...base, max_completion_tokens: 10, max_tokens: 99 }).maxOutputTokens).toBe(99);
    expect(factsOf({ ...base, max_completion_tokens: 20, max_tokens: null }).maxOutputTokens).toBe(20);
  });

  it.each([
    [{ ...base, model: undefined }, 'model'],
    [{ ...base, model: ['gpt-6-astra'] }, 'model'],
    [{ ...base, model: 'gpt-6-astra ' }, 'model'],
    [{ ...base, model: 'gpt-6\u200b-astra' }, 'model'],
    [{ ...base, models: ['gpt-6 astra'] }, 'models'],
    [{ ...base, n: 0 }, 'n'],
    [{ ...base, n: 1.5 }, 'n'],
    [{ ...base, n: '100' }, 'n'],
    [{ ...base, max_tokens: -1 }, 'max_tokens'],
    [{ ...base, max_tokens: 0 }, 'max_tokens'],
    [{ ...base, max_completion_tokens: 0 }, 'max_completion_tokens'],
    [{ ...base, n_Predict: 9 }, 'n_Predict'],
    [{ ...base, reasoning_effort: 0 }, 'reasoning_effort'],
    [{ ...base, models: Array(otherModelsMax + 1).fill('a') }, 'models'],
    [{ ...base, models: ['a'.repeat(smallFieldBytesMax)] }, 'models'],
    [{ ...base, modalities: Array(smallFieldBytesMax).fill('text') }, 'modalities'],
    [{ ...base, max_completion_tokens: '10' }, 'max_completion_tokens'],
    [{ ...base, stream: 'yes' }, 'stream'],
    [{ ...base, stream_options: [] }, 'stream_options'],
    [{ ...base, stream_options: { include_usage: 'true' } }, 'stream_options.include_usage'],
    [{ ...base, messages: 'hi' }, 'messages'],
    [{ ...base, functions: {} }, 'functions'],
    [{ ...base, modalities: 'audio' }, 'modalities'],
    [{ ...base, models: 'dear' }, 'models'],
    [{ ...base, service_tier: 7 }, 'service_tier'],
    [{ ...base, tools: [{ type: 7 }, { type: 'x' }] }, 'tools[0].type'],
    [{ ...base, N: 100 }, 'N'],
    [{ ...base, Max_Tokens: 100 }, 'Max_Tokens'],
  ])('refuse a wrong type or spelling by the name of the field: %j', (request, param) => {
    expect(refusal(request)).toEqual(['invalid_argument', param]);
  });
});

describe('media', () => {
  const url = `data:image/png;base64,${'A'.repeat(400)}`;

  it('counts images, and the bytes that they take in the body', () => {
    const facts = withParts(
      { type: 'image_url', image_url: { url, detail: 'low' } },
      { type: 'image_url', image_url: { url: 'https://x.test/a.png' } },
      { type: 'text', text: 'What is it?' },
    );
    expect(facts.media).toEqual({
      images: 2,
      documents: 0,
      inlineBytes: url.length,
    });
    expect(facts.unbounded).toEqual([]);
  });

  it('sees images without a type, as some servers accept them', () => {
    expect(withParts({ image_url: url }).media.images).toBe(1);
    expect(factsOf({ ...base, messages: [{ role: 'user', content: { image_url: { url } } }] }).media.images).toBe(1);
  });

  it('counts files that are in the body', () => {
    const facts = withParts({ type: 'file', file: { filename: 'a.pdf', file_data: 'A'.repeat(400) } });
    expect(facts.media).toMatchObject({ documents: 1, inlineBytes: 400 });
  });

  it('does not take the arguments or schemas of functions for media', () => {
    const schema = { type: 'object', properties: { file: { type: 'string' }, image_url: { type: 'string' } } };
    const facts = factsOf({ ...base, tools: [{ type: 'function', function: { name: 'f', parameters: schema } }] });
    expect(facts).toMatchObject({ media: { images: 0, documents: 0 }, unbounded: [], serverTools: [] });
  });
});

describe('stored state', () => {
  const part = (value: object) => ({ messages: [{ role: 'user', content: [value] }] });

  it.each([
    ['messages[0].content[0].file.file_id', part({ type: 'file', file: { file_id: 'file-1' } })],
    ['messages[0].content[0].file_id', part({ type: 'file', file_id: 'file-1' })],
    ['messages[0].content[0].file_id', part({ type: 'text', text: 'x', file_id: 'file-1' })],
    ['messages[0].audio', { messages: [{ role: 'assistant', audio: { id: 'audio_1' } }] }],
    ['tools[0].vector_store_ids', { tools: [{ type: 'file_search', vector_store_ids: ['vs_1'] }] }],
    ['extra_body.google.cached_content', { extra_body: { google: { cached_content: 'cachedContents/1' } } }],
  ])('is refused by its name: %s', (param, change) => {
    expect(refusal({ ...base, ...change })).toEqual(['invalid_argument', param]);
  });

  it('is not what the schema of a function names', () => {
    const parameters = { type: 'object', properties: { file_id: { type: 'string' } } };
    expect(factsOf({ ...base, tools: [{ type: 'function', function: { name: 'f', parameters } }] }).toolCount).toBe(1);
  });
});

describe('what has no bound', () => {
  it.each([
    [{ type: 'file', file: { file_data: 'https://x.test/a.pdf' } }, 'messages[0].content[0].file.file_data'],
    [{ type: 'file', file: {} }, 'messages[0].content[0].file'],
    [{ type: 'input_audio', input_audio: { data: 'AAAA', format: 'wav' } }, 'messages[0].content[0].input_audio'],
    [{ type: 'video_url', video_url: { url: 'u' } }, 'messages[0].content[0].video_url'],
    [{ type: 'image_embeds', data: 'AAAA' }, 'messages[0].content[0].type'],
    [{ type: 7, x: { type: 'odd' } }, 'messages[0].content[0].type'],
    [{ type: 'file', image_url: 'u', file: {} }, 'messages[0].content[0].file'],
    [{ type: 'video', image_url: 'u' }, 'messages[0].content[0].type'],
  ])('is named: %j', (part, field) => {
    expect(withParts(part).unbounded).toEqual([field]);
  });

  it.each([
    ['modalities', ['text', 'audio'], 'modalities'],
    ['prediction', { type: 'content', content: 'x' }, 'prediction'],
    ['models', ['a', 'b'], 'models'],
    ['plugins', [{ id: 'web' }], 'plugins'],
    ['preset', 'dear', 'preset'],
    ['search_parameters', { mode: 'auto' }, 'search_parameters'],
    ['n_predict', -1, 'n_predict'],
    ['n_cmpl', 8, 'n_cmpl'],
    ['max_new_tokens', 9, 'max_new_tokens'],
    ['best_of', 8, 'best_of'],
    ['use_beam_search', true, 'use_beam_search'],
    ['chat_template', '{{ x * 9 }}', 'chat_template'],
    ['mm_processor_kwargs', { max_pixels: 9 }, 'mm_processor_kwargs'],
  ])('is named: %s %j', (name, value, field) => {
    expect(factsOf({ ...base, [name]: value }).unbounded).toEqual([field]);
  });

  it.each([
    ['flex', 'flex'],
    ['priority', 'priority'],
    ['fast', 'priority'],
    ['of_tomorrow', 'of_tomorrow'],
    ['default', listPrice],
    ['scale', listPrice],
  ])('is not the service tier %s, which has a price or not', (tier, value) => {
    const { unbounded, terms } = factsOf({ ...base, service_tier: tier });
    expect(unbounded).toEqual([]);
    expect(terms).toEqual([{ field: 'service_tier', value }]);
  });

  it('says nothing of the service tier where it leaves that to the account', () => {
    expect(factsOf({ ...base, service_tier: 'auto' }).terms).toEqual([]);
    expect(factsOf({ ...base, service_tier: null }).terms).toEqual([]);
  });

  it.each([
    ['service_tier', 'flex'],
    ['modalities', ['text']],
    ['models', []],
    ['moderation', { model: 'omni-moderation-latest' }],
    ['response_format', { type: 'json_schema', json_schema: { schema: { type: 'object' } } }],
  ])('is not: %s %j', (name, value) => {
    expect(factsOf({ ...base, [name]: value }).unbounded).toEqual([]);
  });
});

describe('more facts', () => {
  it('list what the provider runs itself', () => {
    expect(factsOf({ ...base, web_search_options: {} }).serverTools).toEqual([{ type: 'web_search', maxUses: null }]);
    expect(factsOf({ ...base, tools: [{ type: 'browser_search' }] }).serverTools).toHaveLength(1);
  });

  it('name the other models that a router may call', () => {
    expect(factsOf({ ...base, models: ['a', 'b'] }).otherModels).toEqual(['a', 'b']);
  });

  it('say that the model may reason unless it is told not to', () => {
    expect(factsOf({ ...base, reasoning_effort: 'low' }).mayReason).toBe(true);
    expect(factsOf({ ...base, reasoning_effort: null }).mayReason).toBe(true);
    expect(factsOf({ ...base, reasoning_effort: 'none' }).mayReason).toBe(false);
  });

  it('see a cache lifetime that costs more', () => {
    const part = (ttl: string) => ({ type: 'text', text: 'x', prompt_cache_breakpoint: { mode: 'explicit', ttl } });
    expect(withParts(part('30m')).longCacheTtl).toBe(false);
    expect(withParts(part('12h')).longCacheTtl).toBe(true);
  });
});

describe('asking for usage', () => {
  it.each([
    ['{"model":"a"}', '{"model":"a","stream_options":{"include_usage":true}}'],
    ['{"model":"a" } \n', '{"model":"a" ,"stream_options":{"include_usage":true}} \n'],
    ['{}', '{"stream_options":{"include_usage":true}}'],
    ['{"stream_options":null,"n":1}', '{"stream_options":{"include_usage":true},"n":1}'],
    ['{"stream_options": {}}', '{"stream_options": {"include_usage":true}}'],
    ['{"stream_options":{ "x":1 }}', '{"stream_options":{"include_usage":true, "x":1 }}'],
    [
      '{"n":1,"stream_options":{"x":1,"include_usage": false}}',
      '{"n":1,"stream_options":{"x":1,"include_usage": true}}',
    ],
    ['{"stream_options":{"include_usage":null}}', '{"stream_options":{"include_usage":true}}'],
    ['{"stream_options":{"include_usage": true }}', '{"stream_options":{"include_usage": true }}'],
  ])('changes %s to %s', (before, after) => {
    const body = Buffer.from(before);
    const edit = usageRequestEdit(body, scan(body));
    const asked = edit ? editBody(body, [edit]) : body;
    expect(asked.toString()).toBe(after);
    expect(JSON.parse(asked.toString())).toMatchObject({ stream_options: { include_usage: true } });
  });
});
