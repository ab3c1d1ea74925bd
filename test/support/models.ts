import { type IncomingHttpHeaders, request as httpRequest } from 'node:http';
import Anthropic from '@anthropic-ai/sdk';
import OpenAI from 'openai';
import { type MockUpstream, startMockUpstream } from './mock-upstream/client.ts';
import { type GateOptions, type TestGate, startGate } from './gate.ts';

/** The credentials that the gate has at its providers; no client may ever see them. */
export const providerKeys = { claude: 'provider-key-of-claude-7f3c9a', gpt: 'provider-key-of-gpt-51be02' } as const;

/** Nano-USD per token: the prices of both providers, so that a test can foretell a cost. */
export const nanoPerToken = { input: 1_000n, output: 2_000n } as const;

const price = { input: 1, output: 2, cache_read: 1, cache_write_5m: 1, cache_write_1h: 1 };

/** How soon a call by a name with `hasty` in it gives up on its provider. */
const hasty = { first_byte_ms: 700, idle_ms: 500 };

/** What a provider does to one attempt is seen by the client; `models-failover.test.ts` has routes of its own. */
const once = { attempts_max: 1 };

/**
 * The configuration of a gate before a mock provider, as YAML (JSON is YAML). `claude-…` leads to it in the Anthropic
 * dialect, `gpt-…` in OpenAI's, each by the very name that was asked for, which the mock's scripts are tied to.
 */
export function mockConfiguration(mock: Pick<MockUpstream, 'url'>, models: object = {}): string {
  return JSON.stringify({
    providers: {
      claude: { kind: 'anthropic', base_url: mock.url, api_key: providerKeys.claude, allow_private: true, price },
      gpt: {
        kind: 'openai-compatible',
        base_url: `${mock.url}/v1`,
        api_key: providerKeys.gpt,
        allow_private: true,
        price,
      },
    },
    models: {
      'claude-*': { targets: [{ provider: 'claude' }], ...once },
      'gpt-*': { targets: [{ provider: 'gpt' }], ...once },
      'claude-hasty-*': { targets: [{ provider: 'claude', timeouts: hasty }], ...once },
      'gpt-hasty-*': { targets: [{ provider: 'gpt', timeouts: hasty }], ...once },
      ...models,
    },
  });
}

/** A gate before a mock provider of its own; `extend` adds to the configuration. */
export async function startGateWithMock({
  models,
  extend = (yaml) => yaml,
  ...options
}: GateOptions & {
  readonly models?: object;
  readonly extend?: (yaml: string, mockUrl: string) => string;
} = {}): Promise<{ gate: TestGate; mock: MockUpstream; stop: () => Promise<void> }> {
  const mock = await startMockUpstream();
  try {
    const gate = await startGate({ yaml: extend(mockConfiguration(mock, models), mock.url), ...options });
    return { gate, mock, stop: () => Promise.all([gate.stop(), mock.stop()]).then(() => undefined) };
  } catch (error) {
    await mock.stop();
    throw error;
  }
}

/** The two SDKs as an application would use them: with another base URL and key, and nothing else. */
export function clientsOf(gate: TestGate, secret: string): { anthropic: Anthropic; openai: OpenAI } {
  return {
    anthropic: new Anthropic({ baseURL: gate.url, apiKey: secret }),
    openai: new OpenAI({ baseURL: `${gate.url}/v1`, apiKey: secret }),
  };
}

export interface RawAnswer {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly body: Buffer;
}

/** Posts these very bytes as JSON and reads the answer to its end; a header that is undefined is not sent. */
export function post(
  gate: TestGate,
  path: string,
  body: string | Buffer,
  headers: Readonly<Record<string, string | undefined>>,
): Promise<RawAnswer> {
  return new Promise((resolve, reject) => {
    const sent = Object.fromEntries(
      Object.entries({ 'content-type': 'application/json', ...headers }).filter(([, value]) => value !== undefined),
    );
    const request = httpRequest(gate.url + path, { method: 'POST', headers: sent }, (response) => {
      const chunks: Buffer[] = [];
      response.on('data', (chunk: Buffer) => chunks.push(chunk));
      response.on('error', reject);
      response.on('end', () => {
        resolve({ status: response.statusCode ?? 0, headers: response.headers, body: Buffer.concat(chunks) });
      });
    });
    request.on('error', reject);
    request.end(body);
  });
}

/** The path of each dialect's endpoint, and the least body that asks for something there. */
export const doors = {
  anthropic: { path: '/v1/messages', model: 'claude-1' },
  chat: { path: '/v1/chat/completions', model: 'gpt-1' },
} as const;

/** A small request, the same in both dialects. */
export function ask(model: string, rest: object = {}): string {
  return JSON.stringify({ model, max_tokens: 50, messages: [{ role: 'user', content: 'hello' }], ...rest });
}
