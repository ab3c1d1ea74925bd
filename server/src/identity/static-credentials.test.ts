import { describe, expect, it } from 'vitest';
import type { Credential } from './credential.ts';
import { permits } from './permission.ts';
import { StaticCredentials, type StaticCredentialOptions } from './static-credentials.ts';

const none: StaticCredentialOptions = {
  projectId: 'prj_1',
  adminApiKey: null,
  apiKey: null,
  metricsApiKey: null,
  authToken: null,
  basic: null,
};

function present(options: Partial<StaticCredentialOptions>, credential: Credential) {
  const verdict = new StaticCredentials({ ...none, ...options }).verify(credential);
  return verdict && 'principal' in verdict ? verdict.principal : verdict;
}

const token = (text: string): Credential => ({ kind: 'token', text });
const basic = (text: string): Credential => ({ kind: 'basic', text });

describe('the bootstrap admin key', () => {
  it('may do everything but decide approvals, in any format', () => {
    const admin = present({ adminApiKey: 'any ~format!' }, token('any ~format!'));
    if (!admin || 'reason' in admin) throw new Error('refused');
    expect(admin).toMatchObject({
      kind: 'operator',
      id: 'static:ADMIN_API_KEY',
      method: 'static_key',
      projectId: 'prj_1',
    });
    expect(permits(admin, 'policy:write')).toBe(true);
    expect(permits(admin, 'approvals:decide')).toBe(false);
  });

  it('is compared as a whole', () => {
    for (const text of ['secre', 'secrets', 'Secret', '', 'secret\0']) {
      expect(present({ adminApiKey: 'secret' }, token(text))).toBeNull();
    }
  });
});

it('API_KEY has the scopes that were configured, and none that do not exist', () => {
  const scopes = ['models:invoke', 'runs:write'];
  expect(present({ apiKey: { text: 'k', scopes } }, token('k'))).toMatchObject({
    kind: 'service',
    method: 'static_key',
    scopes: new Set(scopes),
  });
  expect(() => present({ apiKey: { text: 'k', scopes: ['models:invok'] } }, token('k'))).toThrow(
    'API_KEY_SCOPES: "models:invok" is not a scope.',
  );
});

it('METRICS_API_KEY reads metrics and nothing else', () => {
  expect(present({ metricsApiKey: 'm' }, token('m'))).toMatchObject({ scopes: new Set(['metrics:read']) });
});

describe('AUTH_TOKEN', () => {
  it('is ignored unless it is allowed', () => {
    const authToken = { text: 't', scopes: ['runs:write'] };
    expect(present({ authToken: { ...authToken, allowed: false } }, token('t'))).toBeNull();
    expect(present({ authToken: { ...authToken, allowed: true } }, token('t'))).toMatchObject({
      method: 'legacy_token',
      scopes: new Set(['runs:write']),
    });
  });

  it('never has keys:write, approvals:decide, policy:write, or admin, which implies them', () => {
    for (const scope of ['keys:write', 'approvals:decide', 'policy:write', 'admin']) {
      const authToken = { text: 't', scopes: ['runs:write', scope], allowed: true };
      expect(() => present({ authToken }, token('t'))).toThrow(`AUTH_TOKEN_SCOPES must not contain ${scope}`);
    }
  });
});

it('all of them are told from what is not ours, whatever kind they are presented as', () => {
  const basic = { user: 'dev', password: 'pa:ss', allowed: true };
  const credentials = new StaticCredentials({ ...none, adminApiKey: 'any ~format!', metricsApiKey: 'm', basic });
  for (const text of ['any ~format!', 'm', 'dev:pa:ss']) expect(credentials.isOurs(text)).toBe(true);
  for (const text of ['', 'any', 'M', 'dev', 'pa:ss']) expect(credentials.isOurs(text)).toBe(false);
});

describe('Basic', () => {
  const user = { user: 'dev', password: 'pa:ss' };

  it('is ignored unless it is allowed', () => {
    expect(present({ basic: { ...user, allowed: false } }, basic('dev:pa:ss'))).toMatchObject({
      reason: 'bad_password',
    });
    expect(present({ basic: { ...user, allowed: true } }, basic('dev:pa:ss'))).toMatchObject({ method: 'basic' });
  });

  it('wants both parts, and is not a token', () => {
    for (const text of ['dev:pa', 'dev', 'dev:', ':pa:ss', 'dev:pa:ss:']) {
      expect(present({ basic: { ...user, allowed: true } }, basic(text))).toMatchObject({ reason: 'bad_password' });
    }
    expect(present({ basic: { ...user, allowed: true } }, token('dev:pa:ss'))).toBeNull();
    expect(present({ adminApiKey: 'dev:x' }, basic('dev:x'))).toMatchObject({ reason: 'bad_password' });
  });
});
