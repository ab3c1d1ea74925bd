import * as oidc from 'openid-client';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { startGate, type TestGate } from '../../../../test/support/gate.ts';
import { client, decide, signIn } from '../../../../test/support/login-client.ts';
import { PeopleProvider } from '../../../../test/support/people-provider.ts';

let provider: PeopleProvider;
let gate: TestGate;
beforeAll(async () => {
  provider = await PeopleProvider.start();
  gate = await startGate({ yaml: provider.section(), env: { TRUSTED_PROXIES: '127.0.0.1' } });
  provider.register([gate.url]);
});
afterAll(async () => {
  await gate?.stop();
  await provider?.close();
});

it('a client library logs in and stays logged in, as it is', async () => {
  const config = new oidc.Configuration(
    {
      issuer: gate.url,
      token_endpoint: `${gate.url}/oauth/token`,
      device_authorization_endpoint: `${gate.url}/oauth/device_authorization`,
    },
    client.client_id,
    undefined,
    oidc.None(),
  );
  oidc.allowInsecureRequests(config);
  const asked = await oidc.initiateDeviceAuthorization(config, { scope: 'telemetry:read' });
  const visitor = await signIn(gate, provider, {
    sub: 'ada',
    email: 'ada@example.com',
    email_verified: true,
    groups: ['engineers'],
  });
  await decide(gate, visitor, asked.user_code);
  const tokens = await oidc.pollDeviceAuthorizationGrant(config, { ...asked, interval: 1 });
  expect(tokens.scope).toBe('telemetry:read');
  const next = await oidc.refreshTokenGrant(config, tokens.refresh_token ?? '');
  expect(next.refresh_token).not.toBe(tokens.refresh_token);
  const { principal } = await gate.api<{ principal: object }>('SystemService/GetSelf', {}, next.access_token);
  expect(principal).toMatchObject({ scopes: ['telemetry:read'] });
});
