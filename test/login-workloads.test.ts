import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { runCommand } from './support/cli.ts';
import { queryAsOwner } from './support/database.ts';
import { bearer, fromNewAddress } from './support/doors.ts';
import { startGate, type TestGate } from './support/gate.ts';
import { type SigningKey, sign, signingKey, TestIssuer } from './support/issuer.ts';
import { postForm } from './support/login-client.ts';

// An agent shows a token of its issuer, as jobs of CI systems do, and gets a key of an hour.

let key: SigningKey;
let issuer: TestIssuer;
let gate: TestGate;
let agentId: string;
const subject = 'repo:example/app:ref:refs/heads/main';

beforeAll(async () => {
  key = await signingKey('k1', 'RS256');
  issuer = await new TestIssuer([key]).listen();
  gate = await startGate({
    yaml: `issuers:
  - { issuer: "${issuer.url}", audience: [https://gate.example], jwks_uri: "${issuer.jwksUri}" }
`,
    env: { TRUSTED_PROXIES: '127.0.0.1' },
  });
  const { agent } = await gate.api<{ agent: { id: string } }>('AgentService/CreateAgent', {
    name: 'ci',
    issuer: issuer.url,
    subject,
    certificateScopes: ['models:invoke', 'runs:write'],
  });
  agentId = agent.id;
});
afterAll(async () => {
  await gate?.stop();
  await issuer?.close();
});

const nowS = () => Math.floor(Date.now() / 1000);

/** As GitHub's runner signs them, changed. */
function idToken(change: Record<string, unknown> = {}, by = key): Promise<string> {
  const claims = {
    iss: issuer.url,
    aud: 'https://gate.example',
    sub: subject,
    iat: nowS(),
    exp: nowS() + 300,
    ...change,
  };
  const given = Object.entries(claims).filter(([, value]) => value !== undefined);
  return sign(Object.fromEntries(given), by, { typ: 'JWT' });
}

function exchange(token: string, more: Readonly<Record<string, string>> = {}) {
  return postForm(gate, '/oauth/token', {
    grant_type: 'urn:ietf:params:oauth:grant-type:token-exchange',
    subject_token: token,
    subject_token_type: 'urn:ietf:params:oauth:token-type:id_token',
    ...more,
  });
}

async function self(text: string) {
  const answer = await gate.api<{ principal: Record<string, unknown> }>('SystemService/GetSelf', {}, text);
  return answer.principal;
}

describe('the token of a workload', () => {
  it('gives a key of the agent that its issuer and subject name, for an hour', async () => {
    const { status, json, headers } = await exchange(await idToken());
    expect([status, json.issued_token_type]).toEqual([200, 'urn:ietf:params:oauth:token-type:access_token']);
    expect(json).not.toHaveProperty('refresh_token');
    expect(json.expires_in).toBeLessThanOrEqual(3_600);
    expect(headers.get('cache-control')).toBe('no-store');
    expect(await self(json.access_token)).toMatchObject({
      kind: 'PRINCIPAL_KIND_AGENT',
      agentId,
      scopes: ['models:invoke', 'runs:write'],
    });
  });

  it('says itself what the key may do where it has scopes; else what the agent may by an identity without any', async () => {
    const scopes = async (claims: object, more = {}) => (await exchange(await idToken({ ...claims }), more)).json;
    expect((await scopes({ scope: 'telemetry:read' })).scope).toBe('telemetry:read');
    expect((await scopes({}, { scope: 'models:invoke' })).scope).toBe('models:invoke');
    // Never what no agent may have, and never more than is there.
    expect((await scopes({ scope: 'admin telemetry:read' })).scope).toBe('telemetry:read');
    for (const [claims, scope] of [
      [{}, 'admin'],
      [{}, 'telemetry:read'],
      [{ scope: 'telemetry:read' }, 'models:invoke'],
      [{ scope: 'admin telemetry:read' }, 'keys:write'],
    ] as const)
      expect((await scopes(claims, { scope })).error).toBe('invalid_scope');
    await gate.api('AgentService/CreateAgent', { name: 'bare', issuer: issuer.url, subject: 'bare' });
    expect((await scopes({ sub: 'bare' })).scope).toBe('');
    expect((await scopes({ sub: 'bare' }, { scope: 'models:invoke' })).error).toBe('invalid_scope');
  });

  it('that does not hold, or names no agent, is refused in the same words', async () => {
    const stranger = await signingKey('k1', 'RS256');
    const { secret } = await gate.agent('with a key');
    const told = new Set<string>();
    for (const token of [
      await idToken({ aud: 'https://elsewhere.example' }),
      await idToken({ iss: 'https://elsewhere.example' }),
      await idToken({ sub: 'nobody' }),
      await idToken({ exp: nowS() - 1, iat: nowS() - 300 }),
      await idToken({ exp: undefined }),
      await idToken({ nonce: 'of a browser' }),
      await idToken({ cnf: { jkt: 'x' } }),
      await idToken({}, stranger),
      secret,
      gate.adminKey,
      'nonsense',
    ]) {
      const { status, json } = await exchange(token);
      expect([status, json.error], token).toEqual([400, 'invalid_request']);
      told.add(json.error_description);
    }
    expect(told.size).toBe(1);
  });

  it('is asked for as RFC 8693 says', async () => {
    const token = await idToken();
    for (const [more, error] of [
      [{ subject_token_type: 'urn:ietf:params:oauth:token-type:saml2' }, 'invalid_request'],
      [{ requested_token_type: 'urn:ietf:params:oauth:token-type:refresh_token' }, 'invalid_request'],
      [{ actor_token: token }, 'invalid_request'],
      [{ audience: 'https://elsewhere.example' }, 'invalid_target'],
      [{ resource: 'https://elsewhere.example' }, 'invalid_target'],
      [{ scope: 'everything' }, 'invalid_scope'],
    ] as const)
      expect((await exchange(token, more)).json.error).toBe(error);
    const jwt = { subject_token_type: 'urn:ietf:params:oauth:token-type:jwt' };
    expect((await exchange(token, jwt)).status).toBe(200);
  });

  it('of an agent that was disabled gives nothing, and its key ends', async () => {
    const made = await gate.api<{ agent: { id: string } }>('AgentService/CreateAgent', {
      name: 'leaving',
      issuer: issuer.url,
      subject: 'leaving',
    });
    const { json } = await exchange(await idToken({ sub: 'leaving' }));
    await self(json.access_token);
    await gate.api('AgentService/DisableAgent', { agentId: made.agent.id });
    expect((await exchange(await idToken({ sub: 'leaving' }))).json.error).toBe('invalid_request');
    await vi.waitFor(async () => {
      const answer = await fetch(`${gate.url}/v1/models`, {
        headers: { ...bearer(json.access_token), ...fromNewAddress() },
      });
      expect(answer.status).toBe(401);
    });
  });

  it('gives an agent 200 keys that hold, and no more', async () => {
    await queryAsOwner(
      gate.database,
      `INSERT INTO api_keys (id, project_id, agent_id, kind, name, secret_hash, scopes, created_by, expires_at, control_version)
       SELECT 'k' || n, project_id, agent_id, kind, name, secret_hash, scopes, created_by, expires_at, control_version
       FROM (SELECT * FROM api_keys WHERE created_by = $1 LIMIT 1) AS one, generate_series(1, 200) AS n`,
      [agentId],
    );
    expect(await exchange(await idToken())).toMatchObject({ status: 429, json: { error: 'temporarily_unavailable' } });
    await queryAsOwner(gate.database, "DELETE FROM api_keys WHERE id LIKE 'k%' AND length(id) < 12");
    expect((await exchange(await idToken())).status).toBe(200);
  });

  it('is written down with issuer and subject, and nowhere itself', async () => {
    const token = await idToken();
    const { json } = await exchange(token);
    const rows = await queryAsOwner<{ payload: Record<string, unknown> }>(
      gate.database,
      "SELECT payload FROM audit_entries WHERE action = 'token.issued' ORDER BY id DESC LIMIT 1",
    );
    expect(rows[0]?.payload).toMatchObject({ issuer: issuer.url, subject, agent_id: agentId });
    const log = await gate.settledLog();
    for (const secret of [token, token.split('.')[2] ?? '', json.access_token]) expect(log).not.toContain(secret);
  });
});

describe('portcullis token', () => {
  const folder = mkdtempSync(join(tmpdir(), 'portcullis-workload-'));
  let runner: Server;
  const asked: string[] = [];
  beforeAll(async () => {
    runner = createServer((request, response) => {
      asked.push(`${request.headers.authorization} ${request.url}`);
      void idToken().then((value) => response.end(JSON.stringify({ value })));
    });
    runner.listen(0, '127.0.0.1');
    await once(runner, 'listening');
  });
  afterAll(() => {
    runner?.close();
    rmSync(folder, { recursive: true });
  });

  const token = (args: readonly string[], environment: Record<string, string> = {}) =>
    runCommand(['token', ...args], { environment: { PORTCULLIS_URL: gate.url, ...environment }, cwd: folder });

  it('prints a key for the ID token in a file, or in a variable', async () => {
    writeFileSync(join(folder, 'id-token'), `${await idToken()}\n`);
    for (const run of [
      await token(['--id-token-file', 'id-token', '--scope', 'models:invoke']),
      await token(['--id-token-env', 'CI_TOKEN'], { CI_TOKEN: await idToken() }),
      await token(['--id-token-env', 'CI_TOKEN', '--server', gate.url], {
        CI_TOKEN: await idToken(),
        PORTCULLIS_URL: '',
      }),
    ]) {
      expect(run).toMatchObject({ code: 0, stderr: '' });
      expect(run.stdout).toMatch(/^pcl_\w+\n$/);
      expect(await self(run.stdout.trim())).toMatchObject({ agentId });
    }
  });

  it("asks GitHub's runner for one where there is a runner", async () => {
    const run = await token(['--audience', 'https://gate.example'], {
      ACTIONS_ID_TOKEN_REQUEST_URL: `http://127.0.0.1:${(runner.address() as AddressInfo).port}/token?api-version=2`,
      ACTIONS_ID_TOKEN_REQUEST_TOKEN: 'of the job',
    });
    expect(run).toMatchObject({ code: 0, stdout: expect.stringMatching(/^pcl_\w+\n$/) });
    expect(asked).toEqual(['Bearer of the job /token?api-version=2&audience=https%3A%2F%2Fgate.example']);
  });

  it('says what is wrong, and prints no secret', async () => {
    const refused = await idToken({ aud: 'https://elsewhere.example' });
    for (const [args, environment, code, sentence] of [
      [['--id-token-file', 'nowhere'], {}, 1, 'the file cannot be read'],
      [['--id-token-env', 'NOWHERE'], {}, 1, 'NOWHERE is not set'],
      [['--id-token-env', 'T'], { T: refused }, 3, 'names no agent'],
      [['--id-token-env', 'T'], { T: refused, PORTCULLIS_URL: 'http://gate.example' }, 2, 'use https'],
      [['--id-token-env', 'T'], { T: refused, PORTCULLIS_URL: '' }, 2, 'Which gate?'],
      [['--id-token-env', 'T'], { T: refused, PORTCULLIS_URL: 'http://127.0.0.1:1' }, 4, 'No gate answers'],
      [[], {}, 3, 'Nobody is logged in'],
      [['--min-lifetime', '2h'], {}, 2, '55m is the most'],
      [
        [],
        { ACTIONS_ID_TOKEN_REQUEST_URL: 'http://runner.example/', ACTIONS_ID_TOKEN_REQUEST_TOKEN: 'of the job' },
        1,
        'must begin with https',
      ],
    ] as const) {
      const run = await token(args, { ...environment });
      expect([run.code, run.stdout], run.stderr).toEqual([code, '']);
      expect(run.stderr).toContain(sentence);
      for (const secret of [refused, 'of the job']) expect(run.stderr).not.toContain(secret);
    }
  });
});
