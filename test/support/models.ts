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
      'claude-*': { targets: [{ provider: 'claude' }] },
      'gpt-*': { targets: [{ provider: 'gpt' }] },
      'claude-hasty-*': { targets: [{ provider: 'claude', timeouts: hasty }] },
      'gpt-hasty-*': { targets: [{ provider: 'gpt', timeouts: hasty }] },
      ...models,
    },
  });
}

/** A gate before a mock provider of its own. */
export async function startGateWithMock(
  options: GateOptions & { readonly models?: object } = {},
): Promise<{ gate: TestGate; mock: MockUpstream; stop: () => Promise<void> }> {
  const mock = await startMockUpstream();
  try {
    const gate = await startGate({ yaml: mockConfiguration(mock, options.models), ...options });
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
