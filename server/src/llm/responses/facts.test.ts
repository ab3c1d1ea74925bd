import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { editBody, scanObject } from '../json-scan.ts';
import { refusalOf } from '../testing/refusal.ts';
import { readFacts, storeEdit } from './facts.ts';

function factsOf(request: object | string) {
  const body = Buffer.from(typeof request === 'string' ? request : JSON.stringify(request));
  return readFacts(body, scanObject(body, { depthMax: 64 }));
}

const facts = (change: object) => factsOf({ model: 'm', input: 'hi', ...change });
const user = (...content: object[]) => ({ input: [{ role: 'user', content }] });

describe('the facts of a request', () => {
  test('are read from its fields', () => {
    expect(facts({ stream: true, max_output_tokens: 5, tools: [{ type: 'function', name: 'f' }] })).toMatchObject({
      model: 'm',
      stream: true,
      maxOutputTokens: 5,
      thinkingTokens: 0,
      choices: 1,
      usageRequested: true,
      messageCount: 1,
      toolCount: 1,
      builtInTools: 0,
      serverTools: [],
      otherModels: [],
      unbounded: [],
      longCacheTtl: false,
      mayReason: true,
      media: { images: 0, documents: 0, inlineBytes: 0 },
    });
    expect(facts({ reasoning: { effort: 'none' } }).mayReason).toBe(false);
    expect(facts({ prompt_cache_options: { ttl: '12h' } }).longCacheTtl).toBe(true);
  });

  test('of Codex bound it but for the search of the web', () => {
    const body = readFileSync(new URL('../testing/codex-request.json', import.meta.url), 'utf8');
    expect(factsOf(body)).toMatchObject({
      maxOutputTokens: null,
      messageCount: 19,
      toolCount: 7,
      serverTools: [{ type: 'web_search', maxUses: null }],
      unbounded: [],
      media: { images: 1, documents: 0 },
    });
  });

  test('count images and documents wherever they stand', () => {
    const image = { type: 'input_image', image_url: 'data:image/png;base64,AAAA' };
    const file = { type: 'input_file', file_data: 'data:application/pdf;base64,JVBE' };
    const output = [image, file];
    const inlineBytes = image.image_url.length + file.file_data.length;
    expect(facts(user(image, file)).media).toEqual({ images: 1, documents: 1, inlineBytes });
    expect(facts({ input: [{ type: 'function_call_output', call_id: 'c', output }] }).media).toMatchObject({
      inlineBytes,
    });
    expect(facts({ input: [{ type: 'custom_tool_call_output', call_id: 'c', output }] }).media).toMatchObject({
      inlineBytes,
    });
    const screenshot = {
      type: 'computer_call_output',
      call_id: 'c',
      output: { ...image, type: 'computer_screenshot' },
    };
    expect(facts({ input: [screenshot] }).media).toMatchObject({ images: 1 });
    expect(facts(user({ ...image, image_url: 'https://example.com' })).media).toMatchObject({
      images: 1,
      inlineBytes: 0,
    });
  });

  test('tell of the service tier that is asked for', () => {
    expect(facts({ service_tier: 'priority' })).toMatchObject({
      unbounded: [],
      terms: [{ field: 'service_tier', value: 'priority' }],
    });
  });

  test.each([
    ['context_management', { context_management: [{ type: 'compaction' }] }],
    ['reasoning.mode', { reasoning: { mode: 'pro' } }],
    ['input[0].content[0].file_url', user({ type: 'input_file', file_url: 'https://example.com/a.pdf' })],
    ['input[0].content[0].type', user({ type: 'input_audio', input_audio: {} })],
    ['input[0].type', { input: [{ type: 'of_tomorrow', id: 'x', said: 'y' }] }],
  ])('name what nothing bounds: %s', (field, change) => {
    expect(facts(change).unbounded).toEqual([field]);
  });

  test.each([
    'web_search',
    'web_search_preview',
    'file_search',
    'code_interpreter',
    'image_generation',
    'mcp',
    'shell',
    'of_tomorrow',
  ])('name a tool that the provider runs: %s', (type) => {
    expect(facts({ tools: [{ type }] })).toMatchObject({ serverTools: [{ type, maxUses: null }] });
  });

  test.each([
    [{ type: 'local_shell' }],
    [{ type: 'apply_patch' }],
    [{ type: 'computer_use_preview' }],
    [{ type: 'tool_search' }],
    [{ type: 'shell', environment: { type: 'local' } }],
  ])('count a tool that the provider defines and the client runs: %j', (tool) => {
    expect(facts({ tools: [tool] })).toMatchObject({ builtInTools: 1, serverTools: [] });
  });

  test('see tools in groups, and those that come with an item', () => {
    const f = { type: 'function', name: 'f' };
    expect(facts({ tools: [{ type: 'namespace', name: 'n', tools: [f, f] }, f] }).toolCount).toBe(4);
    const search = { type: 'web_search' };
    expect(facts({ tools: [{ type: 'namespace', name: 'n', tools: [search] }] })).toMatchObject({
      toolCount: 2,
      serverTools: [{ type: 'web_search', maxUses: null }],
    });
    const late = { type: 'additional_tools', role: 'developer', tools: [{ type: 'mcp', server_label: 's' }] };
    expect(facts({ input: [late] }).serverTools).toEqual([{ type: 'mcp', maxUses: null }]);
  });

  test('name other models that it would use', () => {
    expect(
      facts({ moderation: { model: 'a' }, tools: [{ type: 'image_generation', model: 'b' }] }).otherModels,
    ).toEqual(['b', 'a']);
  });

  test.each([
    ['model', { model: 7 }],
    ['stream', { stream: 'yes' }],
    ['store', { store: 'no' }],
    ['background', { background: 1 }],
    ['max_output_tokens', { max_output_tokens: 0 }],
    ['tools[0].type', { tools: [{ type: 7 }, { type: 'mcp' }] }],
    ['tools[0].type', { tools: [{ name: 'f' }] }],
    ['input', { input: { role: 'user', content: 'x' } }],
    ['input', { input: [[{ type: 'input_file', file_id: 'f' }]] }],
    ['input', { input: ['x'] }],
    ['input', { input: 7 }],
  ])('are refused where a field has the wrong type: %s', (param, change) => {
    expect(refusalOf(() => facts(change)).members.param).toBe(param);
  });

  test('are refused where another parser could read another field', () => {
    expect(refusalOf(() => factsOf('{"model":"m","input":"hi","Store":true}')).members.param).toBe('Store');
  });
});

describe('stored state', () => {
  const reasoning = { type: 'reasoning', id: 'rs_1', summary: [{ type: 'summary_text', text: 'x' }] };

  test.each([
    ['previous_response_id', { previous_response_id: 'resp_1' }],
    ['conversation', { conversation: 'conv_1' }],
    ['prompt', { prompt: { id: 'pmpt_1' } }],
    ['background', { background: true }],
    ['store', { store: true }],
    ['input[0]', { input: [{ id: 'msg_1' }] }],
    ['input[0]', { input: [{ id: 'msg_1', type: null }] }],
    ['input[0]', { input: [{ id: 'msg_1', type: 'item_reference' }] }],
    ['input[0]', { input: [{ id: 'msg_1', role: null }] }],
    ['input[0]', { input: [{ id: 'msg_1', type: 'message', role: 'user', status: 'completed', content: null }] }],
    ['input[0]', { input: [{ id: 'fc_1', type: 'function_call' }] }],
    ['input[0]', { input: [{ id: 'ws_1', type: 'web_search_call', status: 'completed' }] }],
    ['input[0].action.file_id', { input: [{ id: 'x', type: 'of_tomorrow', action: { file_id: 'f' } }] }],
    ['tools[0].tunnel_id', { tools: [{ type: 'mcp', server_label: 's', tunnel_id: 't' }] }],
    [
      'tools[0].tools[0].vector_store_ids',
      { tools: [{ type: 'namespace', name: 'n', tools: [{ type: 'file_search', vector_store_ids: ['v'] }] }] },
    ],
    ['input[0]', { input: [reasoning] }],
    ['input[0]', { input: [{ ...reasoning, encrypted_content: '' }] }],
    ['input[0]', { input: [{ ...reasoning, content: [{ type: 'reasoning_text', text: 'x' }] }] }],
    [
      'input[0].environment.container_id',
      {
        input: [
          {
            type: 'shell_call',
            call_id: 'c',
            action: {},
            environment: { type: 'container_reference', container_id: 'x' },
          },
        ],
      },
    ],
    ['tools[0].container', { tools: [{ type: 'code_interpreter', container: 'cntr_1' }] }],
    [
      'tools[0].container.file_ids',
      { tools: [{ type: 'code_interpreter', container: { type: 'auto', file_ids: ['f'] } }] },
    ],
    ['tools[0].vector_store_ids', { tools: [{ type: 'file_search', vector_store_ids: ['vs_1'] }] }],
    [
      'tools[0].input_image_mask.file_id',
      { tools: [{ type: 'image_generation', input_image_mask: { file_id: 'f' } }] },
    ],
    [
      'tools[0].environment.skills[0].skill_id',
      {
        tools: [
          {
            type: 'shell',
            environment: { type: 'container_auto', skills: [{ type: 'skill_reference', skill_id: 's' }] },
          },
        ],
      },
    ],
  ])('is refused by its name: %s', (param, change) => {
    const refusal = refusalOf(() => facts(change));
    expect(refusal).toMatchObject({ code: 'invalid_argument', members: { param } });
    expect(refusal.message).toContain('stores');
  });

  test.each([
    ['reasoning that is sent along', { input: [{ ...reasoning, encrypted_content: 'e' }] }],
    ['reasoning without a name', { input: [{ ...reasoning, id: undefined }] }],
    ['an item with a name and its content', { input: [{ type: 'message', id: 'msg_1', role: 'user', content: 'hi' }] }],
    [
      'a citation in what was said',
      {
        input: [
          {
            role: 'assistant',
            content: [{ type: 'output_text', text: 'x', annotations: [{ type: 'file_citation', file_id: 'f' }] }],
          },
        ],
      },
    ],
    [
      'an argument of a call',
      {
        input: [{ type: 'tool_search_call', call_id: 'c', execution: 'client', arguments: { file_id: 'f' } }],
      },
    ],
    ['a connector', { tools: [{ type: 'mcp', connector_id: 'connector_dropbox', authorization: 't' }] }],
    ['null', { previous_response_id: null, conversation: null, prompt: null, store: null, background: null }],
    [
      'a parameter of a function',
      { tools: [{ type: 'function', name: 'f', parameters: { type: 'object', properties: { file_id: {} } } }] },
    ],
  ])('is not what this is taken for: %s', (_what, change) => {
    expect(facts(change).model).toBe('m');
  });
});

test.each([
  ['{"model":"m"}', '{"model":"m","store":false}'],
  ['{ "model":"m" \n}\n', '{ "model":"m" \n,"store":false}\n'],
  ['{"store":null,"model":"m"}', '{"store":false,"model":"m"}'],
  ['{"store":false}', '{"store":false}'],
  ['{}', '{"store":false}'],
])('a request that leaves open whether it is stored is told not to be: %s', (request, sent) => {
  const body = Buffer.from(request);
  const edit = storeEdit(body, scanObject(body, { depthMax: 64 }));
  expect(String(edit === null ? body : editBody(body, [edit]))).toBe(sent);
});
