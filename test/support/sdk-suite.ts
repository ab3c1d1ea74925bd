import { afterAll, beforeAll, describe } from 'vitest';
import { createPythonSdks, missingPython } from '../python/client.ts';
import { type TestGate, startGate } from './gate.ts';
import { type MockUpstream, startMockUpstream } from './mock-upstream/client.ts';
import { mockConfiguration } from './models.ts';
import { createJavaScriptSdks } from './javascript-sdks.ts';
import type { ClientOptions, Failure, Family, Method, Outcome, Sdks, Told } from './sdks.ts';

/** A gate before a mock provider of each dialect, and SDKs of each language before it. */
export interface SdkSuite {
  readonly gate: TestGate;
  readonly mock: MockUpstream;
  /** Calls once, with the suite's own key. @throws Error where the SDK raised an exception */
  call(method: Method, params: object, options?: Partial<ClientOptions>): Promise<Told>;
  /** The ids of all models, which the SDK asks for page after page. */
  list(family: Family, params: object): Promise<Told>;
  /** @throws Error where the SDK raised none */
  fail(method: Method, params: object, options?: Partial<ClientOptions>): Promise<Failure>;
}

const missing = missingPython();
if (missing !== null) {
  if (process.env['REQUIRE_ALL'] === '1') throw new Error(`The Python SDKs cannot be tried: ${missing}`);
  console.log(`skipped: the Python SDKs: ${missing}`);
}

const languages = [
  { language: 'JavaScript', createSdks: createJavaScriptSdks, skipped: false },
  { language: 'Python', createSdks: createPythonSdks, skipped: missing !== null },
];

/** Describes what the SDKs of every language see of one gate. `models`: routes besides those of `mockConfiguration`. */
export function describeSdks(
  tests: (suite: () => SdkSuite) => void,
  { models = {}, env = {} }: { readonly models?: object; readonly env?: Readonly<Record<string, string>> } = {},
): void {
  let gate: TestGate;
  let mock: MockUpstream;
  let apiKey: string;

  beforeAll(async () => {
    mock = await startMockUpstream();
    gate = await startGate({ yaml: configuration(mock, models), env });
    ({ secret: apiKey } = await gate.agent('sdk'));
  });
  afterAll(() => Promise.all([gate.stop(), mock.stop()]));

  for (const { language, createSdks, skipped } of languages) {
    describe.skipIf(skipped)(`in ${language}`, () => {
      let sdks: Sdks;
      beforeAll(() => {
        sdks = createSdks();
      });
      afterAll(() => sdks.stop());

      const tryTo = (method: Method, params: object, options: Partial<ClientOptions> = {}): Promise<Outcome> =>
        sdks.call(method, params, { gateUrl: gate.url, apiKey, maxRetries: 0, ...options });
      const toldBy = (outcome: Outcome): Told => {
        if ('told' in outcome) return outcome.told;
        throw new Error(`The SDK raised ${JSON.stringify(outcome.failure)}`);
      };
      tests(() => ({
        gate,
        mock,
        call: async (...asked) => toldBy(await tryTo(...asked)),
        list: async (family, params) =>
          toldBy(await sdks.call('models.list', params, { gateUrl: gate.url, apiKey }, family)),
        async fail(...asked) {
          const outcome = await tryTo(...asked);
          if ('failure' in outcome) return outcome.failure;
          throw new Error(`The SDK raised nothing, but told ${JSON.stringify(outcome.told)}`);
        },
      }));
    });
  }
}

function configuration(mock: MockUpstream, models: object): string {
  const base = JSON.parse(mockConfiguration(mock, models)) as {
    providers: { claude: { price: object } };
    models: object;
  };
  const openai = {
    ...base.providers.claude,
    kind: 'openai',
    base_url: `${mock.url}/v1`,
    api_key: 'provider-key-of-openai-8b03d7',
  };
  return JSON.stringify({
    providers: { ...base.providers, openai },
    models: { 'openai-*': { targets: [{ provider: 'openai' }], attempts_max: 1 }, ...base.models },
  });
}
