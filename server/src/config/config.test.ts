import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { loadConfig } from './config.ts';

const strong = 'Zq8vN2xW5rT7yU4iO9pL3kJ6hG1fD0sA';
const safe = { NODE_ENV: 'production', SECRETS_KEY: strong, DATABASE_URL: 'postgres://portcullis@db/portcullis' };

const root = mkdtempSync(join(tmpdir(), 'portcullis-config-'));
afterAll(() => rmSync(root, { recursive: true }));

function folder(files: Record<string, string> = {}): string {
  const path = mkdtempSync(join(root, 'case-'));
  for (const [name, text] of Object.entries(files)) writeFileSync(join(path, name), text);
  return path;
}

function load(environment: Record<string, string>, yaml?: string) {
  const cwd = folder(yaml === undefined ? {} : { 'portcullis.yaml': yaml });
  return loadConfig({ CONFIG_FILE: yaml === undefined ? '' : join(cwd, 'portcullis.yaml'), ...environment }, cwd);
}

describe('the environment', () => {
  it('has a default for everything: an empty one is a valid development configuration', () => {
    const { config, problems } = load({});
    expect(problems).toEqual([]);
    expect(config.embedded).toBe(true);
    expect(config.options.HTTP_ADDR).toEqual({ host: '127.0.0.1', port: 8080 });
    expect(Object.isFrozen(config)).toBe(true);
  });

  it('lists every problem at once, by name', () => {
    const { problems } = load({ HTTP_ADDR: 'nowhere', DATABASE_POOL_MAX: 'many', DATABASE_URL: 'sqlite:data.db' });
    expect(problems).toHaveLength(3);
    expect(problems.join('\n')).toMatch(/HTTP_ADDR.*\n.*DATABASE_URL.*DATA_DIR.*\n.*DATABASE_POOL_MAX/s);
  });

  it('never repeats the value of a secret in a problem', () => {
    const { problems } = load({ DATABASE_URL: 'mysql://user:hunter2@db/x' });
    expect(problems.join()).not.toContain('hunter2');
  });

  it('reads secrets from files, and refuses both forms at once', () => {
    const cwd = folder({ key: `${strong}\n` });
    expect(loadConfig({ SECRETS_KEY_FILE: join(cwd, 'key') }, cwd).config.options.SECRETS_KEY).toBe(strong);
    expect(loadConfig({ SECRETS_KEY_FILE: join(cwd, 'key'), SECRETS_KEY: 'x' }, cwd).problems).toHaveLength(1);
    expect(loadConfig({ SECRETS_KEY_FILE: join(cwd, 'nothing') }, cwd).problems).toHaveLength(1);
  });

  it('reads .env outside production only, and the environment wins', () => {
    const cwd = folder({ '.env': 'LOG_LEVEL=debug\nDATA_DIR=/tmp/from-file\n' });
    expect(loadConfig({ LOG_LEVEL: 'warn' }, cwd).config.options).toMatchObject({
      LOG_LEVEL: 'warn',
      DATA_DIR: '/tmp/from-file',
    });
    expect(loadConfig({ ...safe }, cwd).config.options.LOG_LEVEL).toBe('info');
  });

  it.each([
    ['PORT', '9000', 'HTTP_ADDR', { host: '0.0.0.0', port: 9000 }],
    ['METTLE_DATABASE_URL', 'postgres://db/x', 'DATABASE_URL', 'postgres://db/x'],
    ['METTLE_SECRET_KEY', strong, 'SECRETS_KEY', strong],
    ['METTLE_ADMIN_API_KEY', strong, 'ADMIN_API_KEY', strong],
    ['ENVIRONMENT', 'production', 'NODE_ENV', 'production'],
  ] as const)('reads the old name %s', (alias, value, name, expected) => {
    expect(load({ [alias]: value }).config.options[name]).toEqual(expected);
  });

  it('says what a misspelt name was meant to be, and what a name of another version means here', () => {
    const { notes } = load({ DATABASE_POOL_MAXX: '5', VALKEY_URL: 'redis://cache', AUTH_TOKEN: 'x' });
    expect(notes.join('\n')).toMatch(/DATABASE_POOL_MAXX is not an option. Did you mean DATABASE_POOL_MAX\?/);
    expect(notes.join('\n')).toMatch(/VALKEY_URL is set, but this version keeps rate limits in each process/);
    expect(notes.join('\n')).toMatch(/AUTH_TOKEN is ignored/);
  });

  it('opens no gRPC listener where GRPC_ADDR is off', () => {
    expect(load({}).config.options.GRPC_ADDR).toEqual({ host: '127.0.0.1', port: 50051 });
    expect(load({ GRPC_ADDR: 'off' }).config.options.GRPC_ADDR).toBeNull();
    expect(load({ GRPC_ADDR: 'on' }).problems.join()).toContain('GRPC_ADDR="on"');
  });

  it('refuses a token issuer that is only partly configured', () => {
    expect(load({ AUTH_ISSUER: 'https://id.example.com/' }).problems.join('\n')).toMatch(/JWKS_URI.*\n.*AUTH_AUDIENCE/);
    expect(load({ AUTH_DOMAIN: 'id.example.com', AUTH_AUDIENCE: 'portcullis' }).problems).toEqual([]);
  });
});

describe('client certificates', () => {
  const cwd = folder({ 'cert.pem': '', 'key.pem': '', 'bundle.pem': '' });
  const listener = {
    MTLS_ADDR: '127.0.0.1:8443',
    MTLS_CERT_FILE: 'cert.pem',
    MTLS_KEY_FILE: 'key.pem',
    MTLS_TRUST_BUNDLE_FILE: 'bundle.pem',
    MTLS_TRUST_DOMAIN: 'example.org',
  };
  const problems = (change: Record<string, string>) => loadConfig({ ...listener, ...change }, cwd).problems;

  it('need files that can be read, and an address of their own', () => {
    expect(problems({})).toEqual([]);
    for (const name of ['MTLS_CERT_FILE', 'MTLS_KEY_FILE', 'MTLS_TRUST_BUNDLE_FILE'])
      expect(problems({ [name]: 'nowhere.pem' })).toEqual([`${name}: the file cannot be read.`]);
    for (const name of ['HTTP_ADDR', 'GRPC_ADDR'])
      expect(problems({ [name]: '127.0.0.1:8443' })).toEqual([expect.stringContaining(`the address of ${name} too`)]);
    expect(problems({ MTLS_ADDR: '127.0.0.1:0', HTTP_ADDR: '127.0.0.1:0' })).toEqual([]);
  });

  it.each([
    ['10.0.0.0/8', false],
    ['10.0.0.0/23', false],
    ['10.0.0.0/24', true],
    ['10.0.0.7', true],
    ['2001:db8::/119', false],
    ['2001:db8::/120', true],
    ['::ffff:10.0.0.0/104', false],
    ['2001:db8::7', true],
  ])('are told of by proxies of %s: %s', (range, isNarrow) => {
    const proxied = { CLIENT_CERT_FROM_PROXIES: 'true', TRUSTED_PROXIES: `127.0.0.1 ${range}` };
    const wide = isNarrow ? [] : [range];
    const told = (lines: readonly string[]) => lines.map((line) => /with (\S+) in TRUSTED_PROXIES/.exec(line)?.[1]);
    const { problems: refused } = loadConfig({ ...safe, ...listener, ...proxied }, cwd);
    expect(told(refused)).toEqual(wide);
    const { problems, notes } = loadConfig({ ...listener, ...proxied }, cwd);
    expect([problems, told(notes)]).toEqual([[], wide]);
    expect(load({ ...safe, TRUSTED_PROXIES: range }).problems).toEqual([]);
  });

  it('say what a misspelt name was meant to be', () => {
    const { notes } = load({ CLIENT_CERT_FROM_PROXY: 'true', MTLS_TRUST_DOMAINS: 'x', CLIENT_ID: 'somebody else' });
    expect(notes).toEqual([
      'CLIENT_CERT_FROM_PROXY is not an option. Did you mean CLIENT_CERT_FROM_PROXIES?',
      'MTLS_TRUST_DOMAINS is not an option. Did you mean MTLS_TRUST_DOMAIN?',
    ]);
  });
});

describe('PUBLIC_URL', () => {
  it.each(['https://gate.example.com/portcullis', 'https://gate.example.com/?a', 'https://a:b@gate.example.com/'])(
    'refuses %s: cookies, forms and redirects know the root alone',
    (url) => {
      const { problems } = load({ PUBLIC_URL: url });
      expect(problems).toEqual([expect.stringMatching(/PUBLIC_URL.*write it without a path, like https:\/\/gate/)]);
    },
  );

  it('is an origin, however it is spelled', () => {
    expect(load({ PUBLIC_URL: 'https://Gate.example.com:443/' }).config.options.PUBLIC_URL).toBe(
      'https://gate.example.com',
    );
  });
});

describe('production', () => {
  it('starts on a safe configuration', () => {
    expect(load(safe).problems).toEqual([]);
  });

  it('says that one person alone can release everything, unless two must', () => {
    expect(load(safe).notes.join()).toContain('KILL_RELEASE_TWO_PEOPLE is off');
    expect(load({ ...safe, KILL_RELEASE_TWO_PEOPLE: 'true' }).notes).toEqual([]);
  });

  it('says that gRPC off the loopback goes in the clear, unless a proxy stands before it', () => {
    const open = { ...safe, KILL_RELEASE_TWO_PEOPLE: 'true', GRPC_ADDR: '0.0.0.0:50051' };
    expect(load(open).notes).toEqual([expect.stringContaining('GRPC_ADDR is off the loopback')]);
    for (const change of [{ TRUSTED_PROXIES: '10.0.0.7' }, { GRPC_ADDR: '127.0.0.1:1' }, { GRPC_ADDR: 'off' }])
      expect(load({ ...open, ...change }).notes).toEqual([]);
  });

  it.each([
    ['a missing master key', { SECRETS_KEY: '' }, /SECRETS_KEY is missing/],
    ['a short master key', { SECRETS_KEY: 'short' }, /SECRETS_KEY is weak/],
    ['a known default', { SECRETS_KEY: 'changeme-changeme-changeme-changeme' }, /SECRETS_KEY is weak/],
    ['a weak admin key', { ADMIN_API_KEY: 'admin' }, /ADMIN_API_KEY is weak/],
    ['Basic', { ENABLE_BASIC_AUTH_FALLBACK: 'true' }, /Basic Auth fallback MUST be disabled/],
    ['reflection', { ENABLE_REFLECTION: 'true' }, /reflection/],
    ['a plaintext public URL', { PUBLIC_URL: 'http://gate.example.com' }, /PUBLIC_URL is plaintext/],
    [
      'plaintext keys of an issuer',
      { AUTH_ISSUER: 'https://id.example.com/', AUTH_AUDIENCE: 'p', JWKS_URI: 'http://id.example.com/jwks' },
      /JWKS_URI is plaintext/,
    ],
    ['the embedded database', { DATABASE_URL: '' }, /ALLOW_EMBEDDED_IN_PRODUCTION/],
  ])('refuses %s with one clear line', (_what, change, message) => {
    const { problems } = load({ ...safe, ...change });
    expect(problems).toHaveLength(1);
    expect(problems[0]).toMatch(message);
  });

  it.each(['Production', 'PRODUCTION', 'prod'])('is meant by NODE_ENV=%s too', (NODE_ENV) => {
    expect(load({ ...safe, NODE_ENV, ENABLE_BASIC_AUTH_FALLBACK: 'true' }).problems).toHaveLength(1);
  });

  it('refuses a provider whose key would cross a network in the clear', () => {
    const yaml = 'providers: { a: { kind: openai, api_key: k, base_url: "http://models.example.com/v1" } }';
    expect(load(safe, yaml).problems).toEqual(['portcullis.yaml: providers.a: base_url is plaintext http.']);
  });

  it('accepts plaintext on the loopback, and the embedded database where it is allowed', () => {
    expect(load({ ...safe, PUBLIC_URL: 'http://127.0.0.1:8080' }).problems).toEqual([]);
    expect(load({ ...safe, DATABASE_URL: '', ALLOW_EMBEDDED_IN_PRODUCTION: 'true' }).problems).toEqual([]);
  });
});

describe('the configuration file', () => {
  const yaml = `
providers:
  anthropic: { kind: anthropic, api_key: "\${TEST_KEY}" }
  lab: { kind: openai-compatible, base_url: http://127.0.0.1:11434/v1, allow_private: true, price: free }
models:
  claude-*: { targets: [{ provider: anthropic }] }
  fast:
    targets:
      - { provider: lab, model: qwen, weight: 3, price: { input: 0.25, output: "1.5" } }
`;

  it('is read with references to the environment, and prices exactly', () => {
    const { config, problems } = load({ TEST_KEY: 'k' }, yaml);
    expect(problems).toEqual([]);
    expect(config.file.providers['anthropic']?.api_key).toBe('k');
    expect(config.file.models['fast']?.targets[0]).toMatchObject({
      weight: 3,
      price: { input: 250_000_000n, output: 1_500_000_000n },
    });
  });

  it.each([
    ['an unset reference', yaml, /\$\{TEST_KEY\} is not set/],
    ['an unknown key', 'provider: {}', /provider/],
    [
      'an unknown provider of a route',
      'models: { a: { targets: [{ provider: nowhere }] } }',
      /"nowhere" is not a provider.*\./,
    ],
    ['a kind that does not exist', 'providers: { a: { kind: magic } }', /providers\.a\.kind \(line 1\)/],
    ['a missing key', 'providers: { a: { kind: openai } }', /api_key/],
    ['a duplicate key', 'providers: {}\nproviders: {}', /unique/],
    ['text that is not YAML', 'providers: [', /portcullis\.yaml/],
    [
      'a negative price',
      'providers: { a: { kind: openai-compatible, base_url: "http://x/v1", price: { input: -1, output: 1 } } }',
      /price/,
    ],
  ])('refuses %s, and says where', (_what, text, message) => {
    const { problems } = load({}, text);
    expect(problems.length).toBeGreaterThan(0);
    expect(problems.join('\n')).toMatch(message);
  });

  const providers = `
  a: { kind: anthropic, credential: caller }
  b: { kind: anthropic, credential: caller, base_url: "https://b.example.com" }
  lab: { kind: openai-compatible, base_url: "http://x/v1", dialects: [chat, responses] }
  played: { kind: sim }`;
  const routes = (models: string) => `providers: ${providers}\nmodels: { m: { ${models} } }`;

  it('has routes with their failover, limits and capabilities', () => {
    const { config, problems } = load(
      {},
      routes(`on_failure: refuse, attempts_max: 5, cache_ttl_s: 60, targets: [
        { provider: a, weight: 0, timeouts: { connect_ms: 500 } },
        { provider: lab, capabilities: { context: 32768, max_output: 4096, images: false, reasoning: none } }]`),
    );
    expect(problems).toEqual([]);
    expect(config.file.models['m']).toMatchObject({ on_failure: 'refuse', attempts_max: 5, cache_ttl_s: 60 });
    const usual = load({}, routes('targets: [{ provider: lab }]')).config.file.models['m'];
    expect(usual).toMatchObject({ on_failure: 'next', attempts_max: 3, lossy: 'refuse' });
    expect(usual?.cache_ttl_s).toBeUndefined();
  });

  it.each([
    ['more attempts than there may be', 'attempts_max: 11, targets: [{ provider: a }]', /attempts_max/],
    ['no attempt', 'attempts_max: 0, targets: [{ provider: a }]', /attempts_max/],
    ['another word for failover', 'on_failure: retry, targets: [{ provider: a }]', /on_failure/],
    ['no target that is called first', 'targets: [{ provider: a, weight: 0 }]', /weight is not 0/],
    [
      'two names for one limit',
      'targets: [{ provider: a, max_output_tokens: 5, capabilities: { max_output: 5 } }]',
      /max_output_tokens.*write one of them/,
    ],
    ['an unknown capability', 'targets: [{ provider: a, capabilities: { vision: true } }]', /vision/],
    ['the simulated model as a fallback', 'targets: [{ provider: a }, { provider: sim }]', /never stands in/],
    ['it under another name', 'targets: [{ provider: lab }, { provider: played, weight: 0 }]', /never stands in/],
    ["a caller's credential for two providers", 'targets: [{ provider: a }, { provider: b }]', /given to one provider/],
  ])('refuses a route with %s', (_what, route, message) => {
    expect(load({}, routes(route)).problems.join('\n')).toMatch(message);
  });

  it.each([
    ['a key that is not used', '{ kind: openai, credential: caller, api_key: k }', /not used where credential is/],
    ['a credential for the simulated model', '{ kind: sim, credential: caller }', /needs none/],
    ['dialects of a kind that has its own', '{ kind: openai, api_key: k, dialects: [chat] }', /dialects/],
    [
      'a dialect twice',
      '{ kind: openai-compatible, base_url: "http://x/v1", dialects: [chat, chat] }',
      /dialects.*twice/,
    ],
    ['no dialect', '{ kind: openai-compatible, base_url: "http://x/v1", dialects: [] }', /dialects/],
    ['no key for Gemini', '{ kind: gemini }', /api_key.*kind gemini/],
    ['no key for Azure', '{ kind: azure, base_url: "https://x.openai.azure.com" }', /api_key.*kind azure/],
    ['no address for Azure', '{ kind: azure, api_key: k }', /base_url.*kind azure/],
    [
      'the address of an API of Azure',
      '{ kind: azure, api_key: k, base_url: "https://x.openai.azure.com/openai/v1/" }',
      /base_url.*ends before \/openai/,
    ],
    ['a dialect that Gemini does not speak', '{ kind: gemini, api_key: k, dialects: [responses] }', /dialects/],
  ])('refuses a provider with %s', (_what, provider, message) => {
    expect(load({}, `providers: { p: ${provider} }`).problems.join('\n')).toMatch(message);
  });

  it('must be there when it is named', () => {
    expect(loadConfig({ CONFIG_FILE: '/nowhere/portcullis.yaml' }, '/').problems).toEqual([
      'CONFIG_FILE: the file cannot be read.',
    ]);
  });
});
