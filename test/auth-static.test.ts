import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  type Answer,
  bearer,
  chat,
  control,
  type Door,
  doors,
  fromNewAddress,
  knock,
  messages,
  metrics,
} from './support/doors.ts';
import { startGate, type TestGate } from './support/gate.ts';

const secrets = {
  API_KEY: 'static-of-another-system-9k2m4n6p8r0t',
  METRICS_API_KEY: 'scraper-1a2b3c4d5e6f7g8h9i0j1k2l3m4n5',
  AUTH_TOKEN: 'shared-by-everybody-5v7x9z1b3d5f7h9j1l',
  BASIC_AUTH_USER: 'ada',
  BASIC_AUTH_PASS: 'a password with : and spaces',
};
const basic = { authorization: `Basic ${btoa(`${secrets.BASIC_AUTH_USER}:${secrets.BASIC_AUTH_PASS}`)}` };

let off: TestGate;
let on: TestGate;
beforeAll(async () => {
  const env = { ...secrets, TRUSTED_PROXIES: '127.0.0.1', RATE_LIMIT_ADMIN_PER_MINUTE: '5' };
  off = await startGate({ env });
  on = await startGate({
    env: {
      ...env,
      NODE_ENV: 'development',
      ALLOW_LEGACY_AUTH_TOKEN: 'true',
      AUTH_TOKEN_SCOPES: 'models:invoke',
      ENABLE_BASIC_AUTH_FALLBACK: 'true',
      API_KEY_SCOPES: 'keys:read',
    },
  });
});
afterAll(() => Promise.all([off?.stop(), on?.stop()]));

const self: Door = { ...control, path: '/portcullis.v1.SystemService/GetSelf' };

function come(gate: TestGate, door: Door, headers: Record<string, string>): Promise<Answer> {
  return knock(gate.url, door, { ...fromNewAddress(), 'x-request-id': 'req_same', ...headers });
}

async function whoIs(gate: TestGate, headers: Record<string, string>): Promise<unknown> {
  const { principal } = (await come(gate, self, headers)).json;
  return [principal.id, principal.kind, principal.scopes];
}

describe('AUTH_TOKEN', () => {
  it('is ignored with a warning unless ALLOW_LEGACY_AUTH_TOKEN says otherwise', async () => {
    expect(off.output).toMatch(/AUTH_TOKEN is ignored/);
    for (const door of doors) {
      const answer = await come(off, door, bearer(secrets.AUTH_TOKEN));
      expect(answer.status).toBe(401);
      expect(answer.text).toBe((await come(off, door, {})).text);
    }
  });

  it('works when it is allowed, with its own scopes and no others', async () => {
    expect(on.output).not.toMatch(/AUTH_TOKEN is ignored/);
    expect(await whoIs(on, bearer(secrets.AUTH_TOKEN))).toEqual([
      'static:AUTH_TOKEN',
      'PRINCIPAL_KIND_SERVICE',
      ['models:invoke'],
    ]);
    expect((await come(on, messages, { 'x-api-key': secrets.AUTH_TOKEN })).status).toBe(200);
    expect((await come(on, control, bearer(secrets.AUTH_TOKEN))).status).toBe(403);
    expect((await come(on, messages, bearer(`${secrets.AUTH_TOKEN}x`))).status).toBe(401);
  });
});

describe('Basic', () => {
  it('is refused where it is not switched on', async () => {
    for (const door of doors) expect((await come(off, door, basic)).status).toBe(401);
  });

  it('works in development with the flag, and a wrong password does not', async () => {
    expect(on.output).toMatch(/Basic Auth fallback is on/);
    expect((await come(on, chat, basic)).status).toBe(200);
    expect((await come(on, control, basic)).status).toBe(403);
    const wrong = { authorization: `Basic ${btoa(`${secrets.BASIC_AUTH_USER}:wrong`)}` };
    expect((await come(on, chat, wrong)).status).toBe(401);
  });
});

describe('API_KEY', () => {
  it('has the scopes of API_KEY_SCOPES, by default those of an agent', async () => {
    expect(await whoIs(off, bearer(secrets.API_KEY))).toEqual([
      'static:API_KEY',
      'PRINCIPAL_KIND_SERVICE',
      ['models:invoke', 'runs:write', 'tools:call'],
    ]);
    expect((await come(off, messages, bearer(secrets.API_KEY))).status).toBe(200);
    expect((await come(off, control, bearer(secrets.API_KEY))).status).toBe(403);
    expect((await come(on, control, bearer(secrets.API_KEY))).status).toBe(200);
    expect((await come(on, messages, bearer(secrets.API_KEY))).status).toBe(403);
  });
});

describe('ADMIN_API_KEY', () => {
  it('opens every door, as an operator', async () => {
    for (const door of doors) expect((await come(off, door, { 'x-api-key': off.adminKey })).status).toBe(200);
    expect(await whoIs(off, bearer(off.adminKey))).toEqual([
      'static:ADMIN_API_KEY',
      'PRINCIPAL_KIND_OPERATOR',
      ['admin'],
    ]);
  });

  it('is compared as a whole: neither less nor more of it holds', async () => {
    for (const text of [off.adminKey.slice(0, -1), `${off.adminKey}x`, off.adminKey.toUpperCase()])
      expect((await come(off, control, bearer(text))).status).toBe(401);
  });
});

describe('METRICS_API_KEY', () => {
  const key = bearer(secrets.METRICS_API_KEY);

  it('reads metrics and nothing else', async () => {
    expect((await come(off, metrics, key)).status).toBe(200);
    expect((await come(off, { ...metrics, path: '/v1/metrics' }, key)).status).toBe(200);
    for (const door of [messages, chat, control]) expect((await come(off, door, key)).status).toBe(403);
    for (const method of ['AgentService/CreateAgent', 'BudgetService/ListBudgets', 'PolicyService/EngageKillSwitch'])
      expect((await come(off, { ...control, path: `/portcullis.v1.${method}` }, key)).status).toBe(403);
  });

  it('is exempt from the limit that others meet', async () => {
    const { secret } = await off.agent('curious', { scopes: ['metrics:read'] });
    const statuses = async (headers: Record<string, string>) => {
      const seen: number[] = [];
      for (let i = 0; i < 12; i++) seen.push((await come(off, metrics, headers)).status);
      return seen;
    };
    expect(await statuses(key)).toEqual(Array.from({ length: 12 }, () => 200));
    expect((await statuses(bearer(secret))).filter((status) => status === 429).length).toBeGreaterThan(4);
  });
});

it.each([
  ['AUTH_TOKEN_SCOPES', 'admin', /AUTH_TOKEN_SCOPES must not contain admin/],
  ['AUTH_TOKEN_SCOPES', 'keys:write', /AUTH_TOKEN_SCOPES must not contain keys:write/],
  ['API_KEY_SCOPES', 'everything', /API_KEY_SCOPES: "everything" is not a scope/],
])('a gate does not start with %s=%s, and says why in one line', async (name, value, message) => {
  const env = { ...secrets, ALLOW_LEGACY_AUTH_TOKEN: 'true', AUTH_TOKEN_SCOPES: 'models:invoke', [name]: value };
  const failure = await startGate({ env }).then(
    () => new Error('it started'),
    (error: Error) => error,
  );
  expect(failure.message).toMatch(/exited with 1/);
  expect(failure.message).toMatch(message);
  expect(failure.message).not.toMatch(/\n\s+at /);
});
