/**
 * A request as Claude Code 2.1 sends it in the middle of its work, with every kind of field and block that its requests
 * were seen to have, and words of our own.
 */
export const claudeCodeRequest = {
  model: 'claude-opus-4-6',
  max_tokens: 64_000,
  thinking: { type: 'adaptive', display: 'omitted' },
  context_management: { edits: [{ type: 'clear_thinking_20251015', keep: 'all' }] },
  output_config: { effort: 'high' },
  metadata: { user_id: '{"device_id":"d","account_uuid":"","session_id":"s"}' },
  stream: true,
  system: [
    { type: 'text', text: 'x-anthropic-billing-header: cc_version=2.1; cc_entrypoint=cli;' },
    { type: 'text', text: 'You are an agent.', cache_control: { type: 'ephemeral' } },
    { type: 'text', text: '\nYou work with the user.', cache_control: { type: 'ephemeral' } },
  ],
  tools: [
    {
      name: 'Read',
      description: 'Reads a file.',
      input_schema: {
        $schema: 'https://json-schema.org/draft/2020-12/schema',
        type: 'object',
        properties: {
          file_path: { type: 'string' },
          limit: { type: 'integer', exclusiveMinimum: 0, maximum: 9_007_199_254_740_991 },
        },
        required: ['file_path'],
        additionalProperties: false,
      },
    },
    {
      name: 'WebFetch',
      description: 'Fetches a page.',
      input_schema: { type: 'object', properties: { url: { type: 'string', format: 'uri' } }, required: ['url'] },
      defer_loading: true,
    },
  ],
  messages: [
    {
      role: 'user',
      content: [
        { type: 'text', text: '<system-reminder>\nToday is Monday.\n</system-reminder>' },
        { type: 'text', text: 'do things' },
      ],
    },
    { role: 'system', content: 'Answer in English.' },
    {
      role: 'assistant',
      content: [
        { type: 'thinking', thinking: '', signature: 'EqQBCkgIARABGAIiQL8=' },
        { type: 'tool_use', id: 'toolu_1', name: 'ToolSearch', input: { query: 'select:WebFetch', max_results: 5 } },
      ],
    },
    {
      role: 'user',
      content: [
        {
          type: 'tool_result',
          tool_use_id: 'toolu_1',
          content: [{ type: 'tool_reference', tool_name: 'WebFetch' }],
        },
        { type: 'text', text: 'Tool loaded.' },
      ],
    },
    {
      role: 'assistant',
      content: [
        { type: 'text', text: 'Both at once.' },
        { type: 'tool_use', id: 'toolu_2', name: 'Read', input: { file_path: '/pic.png' } },
        { type: 'tool_use', id: 'toolu_3', name: 'Bash', input: { command: 'exit 3' } },
      ],
    },
    {
      role: 'user',
      content: [
        {
          tool_use_id: 'toolu_2',
          type: 'tool_result',
          content: [
            { type: 'image', source: { type: 'base64', data: 'iVBORw0KGgo=', media_type: 'image/png' } },
            { type: 'text', text: '<system-reminder>seen</system-reminder>' },
          ],
        },
        {
          type: 'tool_result',
          content: 'Exit code 3',
          is_error: true,
          tool_use_id: 'toolu_3',
          cache_control: { type: 'ephemeral' },
        },
      ],
    },
  ],
};
