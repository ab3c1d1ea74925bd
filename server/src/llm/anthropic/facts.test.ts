import { describe, expect, it } from 'vitest';
import { PortcullisError } from '../../base/errors.ts';
import { jsonDepthMax, otherModelsMax, smallFieldBytesMax } from '../../base/limits.ts';
import { scanObject } from '../json-scan.ts';
import { listPrice } from '../terms.ts';
import { readFacts } from './facts.ts';

function factsOf(request: object | string) {
  const body = Buffer.from(typeof request === 'string' ? request : JSON.stringify(request));
  return readFacts(body, scanObject(body, { depthMax: jsonDepthMax }));
}

const base = { model: 'claude-sonnet-5-5', max_tokens: 1000, messages: [{ role: 'user', content: 'hi' }] };
const withContent = (...content: object[]) => factsOf({ ...base, messages: [{ role: 'user', content }] });
const withTool = (tool: object) => factsOf({ ...base, tools: [tool] });

function refusal(request: object | string): unknown {
  try {
    return factsOf(request);
  } catch (error) {
    return error instanceof PortcullisError ? [error.code, error.members.param] : error;
  }
}

describe('plain facts', () => {
  it('are read from a request of text', () => {
    const body = JSON.stringify({ ...base, stream: true, tools: [{ name: 'a', input_schema: { type: 'object' } }] });
    expect(factsOf(body)).toEqual({
      model: 'claude-sonnet-5-5',
      modelRange: { start: 9, end: 28, kind: 'string', count: 0 },
      otherModels: [],
      stream: true,
      maxOutputTokens: 1000,
      thinkingTokens: 0,
      choices: 1,
      usageRequested: true,
      bodyBytes: body.length,
      messageCount: 1,
      toolCount: 1,
      builtInTools: 0,
      media: { images: 0, documents: 0, inlineBytes: 0 },
      serverTools: [],
      unbounded: [],
      terms: [],
      longCacheTtl: false,
      mayReason: false,
    });
  });

  it('take null for absent', () => {
    expect(
      factsOf({ ...base, max_tokens: null, stream: null, service_tier: null, speed: null, thread: null }),
    ).toMatchObject({
      maxOutputTokens: null,
      stream: false,
      unbounded: [],
    });
  });

  it('are the same for a body that must be parsed because a tool argument has an unknown type', () => {
    const call = (input: object) => ({
      ...base,
      system: [{ type: 'text', text: 'x', cache_control: { type: 'ephemeral', ttl: '1h' } }],
      messages: [{ role: 'assistant', content: [{ type: 'tool_use', id: 't', name: 'n', input }] }],
    });
    const { bodyBytes: _, ...plain } = factsOf(call({ kind: 'image' }));
    const { bodyBytes: __, ...parsed } = factsOf(call({ type: 'image' }));
    expect(parsed).toEqual(plain);
    expect(plain.longCacheTtl).toBe(true);
  });

  it.each([
    [{ ...base, model: undefined }, 'model'],
    [{ ...base, model: null }, 'model'],
    [{ ...base, model: 7 }, 'model'],
    [{ ...base, model: '' }, 'model'],
    [{ ...base, model: 'a\u0000' }, 'model'],
    [{ ...base, model: 'x'.repeat(201) }, 'model'],
    [{ ...base, max_tokens: '1000' }, 'max_tokens'],
    [{ ...base, max_tokens: 1.5 }, 'max_tokens'],
    [{ ...base, max_tokens: -1 }, 'max_tokens'],
    [{ ...base, max_tokens: 2 ** 53 }, 'max_tokens'],
    [{ ...base, stream: 'true' }, 'stream'],
    [{ ...base, stream: 1 }, 'stream'],
    [{ ...base, messages: { 0: {} } }, 'messages'],
    [{ ...base, tools: 'all' }, 'tools'],
    [{ ...base, service_tier: 1 }, 'service_tier'],
    [{ ...base, mcp_servers: {} }, 'mcp_servers'],
    [{ ...base, fallbacks: Array.from({ length: otherModelsMax + 1 }, () => ({ model: 'a' })) }, 'fallbacks'],
    [{ ...base, fallbacks: [{ model: 'a'.repeat(smallFieldBytesMax) }] }, 'fallbacks'],
    [{ ...base, tools: [{ type: 'web_search_20260318', name: 'web_search', max_uses: '5' }] }, 'tools[0].max_uses'],
    [
      {
        ...base,
        tools: [
          { type: 'x', name: 'a' },
          { type: ['custom'], name: 'b' },
        ],
      },
      'tools[1].type',
    ],
  ])('refuse a wrong type by the name of the field: %j', (request, param) => {
    expect(refusal(request)).toEqual(['invalid_argument', param]);
  });

  it.each(['Model', 'MAX_TOKENS', 'max_to\u212aens', 'max_token\u017f', 'Fallbacks'])(
    'refuse the field %s, which a parser that ignores case would take for ours',
    (name) => {
      expect(refusal({ ...base, [name]: 'x' })).toEqual(['invalid_argument', name]);
    },
  );

  it('let pass what is spelled in capitals and is none of ours', () => {
    expect(factsOf({ ...base, Custom: 1 }).model).toBe(base.model);
  });
});

it.each([
  [undefined, false],
  [null, false],
  [{ type: 'disabled' }, false],
  [{ type: 'enabled', budget_tokens: 1024 }, true],
  [{ type: 'adaptive' }, true],
  ['disabled', true],
])('with thinking %j, that the model may reason is %s', (thinking, mayReason) => {
  expect(factsOf({ ...base, thinking }).mayReason).toBe(mayReason);
});

describe('media', () => {
  const image = { type: 'image', source: { type: 'base64', media_type: 'image/png', data: 'A'.repeat(400) } };
  const pdf = { type: 'document', source: { type: 'base64', media_type: 'application/pdf', data: 'A'.repeat(800) } };
  const both = { images: 1, documents: 1, inlineBytes: 1200 };

  it('is counted in messages, in tool results and in documents of blocks', () => {
    expect(withContent(image, pdf).media).toEqual(both);
    expect(withContent({ type: 'tool_result', tool_use_id: 't', content: [image, pdf] }).media).toEqual(both);
    const nested = { type: 'document', source: { type: 'content', content: [image] } };
    expect(withContent(nested, pdf).media).toEqual(both);
    const fetched = { type: 'web_fetch_tool_result', content: { type: 'web_fetch_result', url: 'u', content: pdf } };
    expect(withContent(fetched, image).media).toEqual(both);
    expect(factsOf({ ...base, system: [image, pdf] }).media).toEqual(both);
  });

  it('counts an image by URL like any other: the maximum for one image bounds it', () => {
    const facts = withContent({
      type: 'image',
      source: { type: 'url', url: 'https://x.test/a.png', data: 'not in the body as an image' },
    });
    expect(facts.media).toMatchObject({ images: 1, inlineBytes: 0 });
    expect(facts.unbounded).toEqual([]);
  });

  it('takes a document of plain text for text', () => {
    const facts = withContent({ type: 'document', source: { type: 'text', media_type: 'text/plain', data: 'abc' } });
    expect(facts.media).toMatchObject({ documents: 0, inlineBytes: 0 });
    expect(facts.unbounded).toEqual([]);
  });

  it('does not take tool arguments for media', () => {
    const facts = withContent({ type: 'tool_use', id: 't', name: 'n', input: { content: [image, pdf] } });
    expect(facts.media).toMatchObject({ images: 0, documents: 0 });
  });
});

describe('what has no bound', () => {
  it.each([
    [{ type: 'document', source: { type: 'url', url: 'https://x.test/a.pdf' } }, 'messages[0].content[0].source.url'],
    [{ type: 'document', source: { type: 'new' } }, 'messages[0].content[0].source'],
    [{ type: 'document' }, 'messages[0].content[0].source'],
    [{ type: 'video' }, 'messages[0].content[0].type'],
    [{ type: ['text'], x: { type: 'video' } }, 'messages[0].content[0].type'],
    [
      { type: 'tool_result', tool_use_id: 't', content: [{ type: 'document', source: { type: 'url', url: 'u' } }] },
      'messages[0].content[0].content[0].source.url',
    ],
  ])('is named: %j', (block, field) => {
    expect(withContent(block).unbounded).toEqual([field]);
  });

  it.each([
    ['service_tier', 'priority', 'service_tier'],
    ['fallbacks', 'default', 'fallbacks'],
    ['mcp_servers', [{ type: 'url', url: 'https://x.test', name: 'x' }], 'mcp_servers'],
    ['compaction', { type: 'summarize' }, 'compaction'],
    ['container', { skills: [{ type: 'anthropic', skill_id: 'pdf' }] }, 'container.skills'],
    ['context_management', { edits: [{ type: 'compact_20260112' }] }, 'context_management.edits[0]'],
    ['tools', [{ type: 'mcp_toolset', mcp_server_name: 'x' }], 'tools[0]'],
    ['tools', [{ type: 'new_tool_20300101', name: 'x' }], 'tools[0]'],
  ])('is named: %s %j', (name, value, field) => {
    expect(factsOf({ ...base, [name]: value }).unbounded).toEqual([field]);
  });

  it('is not what has a price of its own: the terms of service are told', () => {
    const terms = (change: object) => factsOf({ ...base, ...change }).terms;
    expect(terms({ speed: 'fast', inference_geo: 'us' })).toEqual([
      { field: 'speed', value: 'fast' },
      { field: 'inference_geo', value: 'us' },
    ]);
    expect(terms({ speed: 'standard', inference_geo: 'global' })).toEqual([
      { field: 'speed', value: listPrice },
      { field: 'inference_geo', value: listPrice },
    ]);
    expect(terms({ speed: null })).toEqual([]);
  });

  it.each([
    ['service_tier', 'standard_only'],
    ['speed', 'standard'],
    ['inference_geo', 'global'],
    ['thread', { type: 'create' }],
    ['container', {}],
    ['container', null],
    ['context_management', { edits: [{ type: 'clear_thinking_20251015', keep: 'all' }] }],
    ['thinking', { type: 'enabled', budget_tokens: 5000 }],
    ['output_config', { effort: 'high', format: { type: 'json_schema', schema: { type: 'object' } } }],
  ])('is not: %s %j', (name, value) => {
    expect(factsOf({ ...base, [name]: value }).unbounded).toEqual([]);
  });

  it('is a list with an end', () => {
    expect(withContent(...Array.from({ length: 1000 }, () => ({ type: 'video' }))).unbounded).toHaveLength(20);
  });
});

describe('stored state', () => {
  const file = { type: 'file', file_id: 'file_1' };
  const content = 'messages[0].content[0]';

  it.each([
    [`${content}.source.file_id`, { type: 'image', source: file }],
    [`${content}.source.file_id`, { type: 'document', source: file }],
    [`${content}.file_id`, { type: 'container_upload', file_id: 'file_1' }],
    [
      `${content}.content[0].source.file_id`,
      { type: 'tool_result', tool_use_id: 't', content: [{ type: 'image', source: file }] },
    ],
    [
      `${content}.source.content[0].source.file_id`,
      { type: 'document', source: { type: 'content', content: [{ type: 'image', source: file }] } },
    ],
  ])('is refused by its name: %s', (param, block) => {
    expect(refusal({ ...base, messages: [{ role: 'user', content: [block] }] })).toEqual(['invalid_argument', param]);
  });

  it.each([
    ['container', 'container_1', 'container'],
    ['container', { id: 'container_1' }, 'container.id'],
    ['container', { skills: [{ type: 'custom', skill_id: 'skill_1' }] }, 'container.skills[0]'],
    ['thread', { type: 'continue', previous_message_id: 'msg_1' }, 'thread'],
  ])('is refused by its name: %s %j', (name, value, param) => {
    expect(refusal({ ...base, [name]: value })).toEqual(['invalid_argument', param]);
  });

  it('is not what tool arguments and results name', () => {
    const use = { type: 'tool_use', id: 't', name: 'n', input: { file_id: 'f', source: file, type: 'image' } };
    expect(withContent(use).model).toBe(base.model);
  });
});

describe('tools', () => {
  it('that the provider runs are listed with their bound', () => {
    const search = { type: 'web_search_20250305', name: 'web_search', max_uses: 5 };
    expect(withTool(search)).toMatchObject({ serverTools: [{ type: search.type, maxUses: 5 }], builtInTools: 1 });
    const code = { type: 'code_execution_20260521', name: 'code_execution' };
    expect(withTool(code).serverTools).toEqual([{ type: code.type, maxUses: null }]);
  });

  it('that the provider defines and the client runs are counted', () => {
    expect(withTool({ type: 'bash_20250124', name: 'bash' })).toMatchObject({ builtInTools: 1, serverTools: [] });
    expect(withTool({ type: 'browser_toolset_20260801' })).toMatchObject({ builtInTools: 1, unbounded: [] });
    expect(withTool({ type: 'custom', name: 'x', input_schema: {} })).toMatchObject({ builtInTools: 0, toolCount: 1 });
  });

  it('that a message or a compaction adds are tools like any other', () => {
    const addition = {
      type: 'tool_addition',
      tool: { type: 'tool_definition', definition: { type: 'web_search_20260318', name: 'web_search' } },
    };
    expect(withContent(addition).serverTools).toHaveLength(1);
    expect(withContent({ type: 'compaction', content: 'x', tool_changes: [addition] }).serverTools).toHaveLength(1);
  });
});

describe('other models', () => {
  it('that the provider may call are named, to be authorized', () => {
    expect(factsOf({ ...base, fallbacks: [{ model: 'a' }, { model: 'b' }] }).otherModels).toEqual(['a', 'b']);
    const advised = withTool({ type: 'advisor_20260301', name: 'advisor', model: 'dear', max_uses: 1 });
    expect(advised).toMatchObject({ otherModels: ['dear'], unbounded: ['tools[0].model'] });
  });
});
