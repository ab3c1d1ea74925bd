/** What a client does in the soak: an ordinary call, a stream that it leaves, a provider that fails, an attack. */
export interface Scenario {
  readonly name: string;
  /** How often it is chosen, beside the others. */
  readonly weight: number;
  /** The mock provider's script, spelled in the model's name (test/support/mock-upstream/script.ts). */
  readonly model: string;
  readonly stream: boolean;
  /** The client goes away after so many bytes of the answer; 0 is before its head. */
  readonly leavesAfterBytes?: number;
  /** Bytes of the prompt, where it is not short. */
  readonly promptBytes?: number;
  /** Statuses that are right for it. */
  readonly statuses: readonly number[];
}

export const scenarios: readonly Scenario[] = [
  { name: 'plain', weight: 8, model: 'mock-tokens-40', stream: false, statuses: [200] },
  { name: 'large', weight: 2, model: 'mock-tokens-40', stream: false, promptBytes: 100_000, statuses: [200] },
  { name: 'tools', weight: 3, model: 'mock-tools-2', stream: true, statuses: [200] },
  { name: 'stream', weight: 8, model: 'mock-tokens-80-rate-400', stream: true, statuses: [200] },
  { name: 'left', weight: 4, model: 'mock-tokens-3000-rate-200', stream: true, leavesAfterBytes: 600, statuses: [200] },
  { name: 'left_early', weight: 2, model: 'mock-latency-2000', stream: true, leavesAfterBytes: 0, statuses: [200] },
  { name: 'cut', weight: 2, model: 'mock-tokens-50-cut-10', stream: true, statuses: [200] },
  { name: 'malformed', weight: 2, model: 'mock-tokens-50-malformed-7', stream: true, statuses: [200] },
  { name: 'stalled', weight: 1, model: 'mock-tokens-50-stall-5', stream: true, statuses: [200] },
  { name: 'refused', weight: 2, model: 'mock-error-400', stream: false, statuses: [400] },
  { name: 'failing', weight: 1, model: 'mock-error-500', stream: false, statuses: [500, 502, 503] },
  { name: 'limited', weight: 1, model: 'mock-error-429', stream: false, statuses: [429, 503] },
];

/** Where a client calls, and which provider answers: the same dialect, and a translation in each direction. */
export interface Door {
  readonly name: string;
  readonly dialect: 'chat' | 'anthropic' | 'responses';
  readonly provider: 'mock-chat' | 'mock-anthropic';
}

export const doors: readonly Door[] = [
  { name: 'chat', dialect: 'chat', provider: 'mock-chat' },
  { name: 'anthropic', dialect: 'anthropic', provider: 'mock-anthropic' },
  { name: 'anthropic_to_chat', dialect: 'anthropic', provider: 'mock-chat' },
  { name: 'chat_to_anthropic', dialect: 'chat', provider: 'mock-anthropic' },
  { name: 'responses_to_anthropic', dialect: 'responses', provider: 'mock-anthropic' },
  { name: 'responses_to_chat', dialect: 'responses', provider: 'mock-chat' },
];

/** The public name of a scenario's model at a provider. */
export function routeName({ name }: Scenario, { provider }: Door): string {
  return `${provider}-${name}`;
}

/** The gate's configuration file: one route for each scenario at each provider. */
export function configuration(mockUrl: string): string {
  const price = 'price: { input: 3, output: 15, cache_read: 0.3, cache_write_5m: 3.75, cache_write_1h: 6 }';
  const routes = ['mock-chat', 'mock-anthropic'].flatMap((provider) =>
    scenarios.map(
      ({ name, model }) =>
        `  ${provider}-${name}: { targets: [{ provider: ${provider}, model: ${model}, timeouts: { idle_ms: 1500 } }] }`,
    ),
  );
  return `providers:
  mock-chat: { kind: openai-compatible, base_url: '${mockUrl}/v1', allow_private: true, ${price} }
  mock-anthropic: { kind: anthropic, base_url: '${mockUrl}', api_key: mock, allow_private: true, ${price} }
models:
${routes.join('\n')}
`;
}

const tool = {
  name: 'read_file',
  description: 'Reads a file.',
  schema: { type: 'object', properties: { path: { type: 'string' } }, required: ['path'] },
};

/** The request of a scenario at a door. */
export function requestOf(scenario: Scenario, door: Door): { readonly path: string; readonly body: string } {
  const prompt = 'What is the capital of France? '.repeat(Math.ceil((scenario.promptBytes ?? 31) / 31));
  const model = routeName(scenario, door);
  const { stream } = scenario;
  const messages = [{ role: 'user', content: prompt }];
  switch (door.dialect) {
    case 'anthropic':
      return {
        path: '/v1/messages',
        body: JSON.stringify({
          model,
          stream,
          max_tokens: 4000,
          messages,
          tools: [{ name: tool.name, description: tool.description, input_schema: tool.schema }],
        }),
      };
    case 'chat':
      return {
        path: '/v1/chat/completions',
        body: JSON.stringify({
          model,
          stream,
          max_completion_tokens: 4000,
          messages,
          tools: [
            { type: 'function', function: { name: tool.name, description: tool.description, parameters: tool.schema } },
          ],
        }),
      };
    default:
      return {
        path: '/v1/responses',
        body: JSON.stringify({
          model,
          stream,
          store: false,
          max_output_tokens: 4000,
          input: prompt,
          tools: [
            {
              type: 'function',
              name: tool.name,
              description: tool.description,
              parameters: tool.schema,
              strict: false,
            },
          ],
        }),
      };
  }
}
