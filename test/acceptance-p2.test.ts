import { type DescField, type DescMessage, ScalarType } from '@bufbuild/protobuf';
import { status } from '@grpc/grpc-js';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { methodTable, services } from '../server/src/api/methods.ts';
import { anthropicCost, anthropicDay, anthropicUsage, adminKey, lastPage, openBillDesk } from './support/bill-desk.ts';
import { thumbprint } from './support/certificates.ts';
import { queryAsOwner } from './support/database.ts';
import { type Answer, bearer, fromNewAddress, send } from './support/doors.ts';
import { startGate, type TestGate } from './support/gate.ts';
import { StockClient } from './support/grpc.ts';
import { pastDay } from './support/ledger-rows.ts';
import { startMtlsGate, whoIs } from './support/mtls.ts';
import { ed25519Signer, newKeyPair, signedHeaders } from './support/request-signer.ts';

/** The hardening list, P2. docs/hardening.md names each of these tests. */

const json = { 'content-type': 'application/json' };

describe('P2-01', () => {
  let gate: TestGate;
  beforeAll(async () => {
    gate = await startGate();
  });
  afterAll(() => gate?.stop());

  /** Every field that a caller can send or get, by its full name. */
  function allFields(): Map<string, DescField> {
    const fields = new Map<string, DescField>();
    const seen = new Set<DescMessage>();
    const visit = (message: DescMessage) => {
      if (seen.has(message)) return;
      seen.add(message);
      for (const field of message.fields) {
        fields.set(`${message.typeName}.${field.name}`, field);
        if (field.message) visit(field.message);
      }
    };
    for (const { methods } of services) for (const { input, output } of methods) [input, output].forEach(visit);
    return fields;
  }

  it('P2-01: no method takes or gives a message without a type of its own', () => {
    const loose = new Set(['Struct', 'Value', 'ListValue', 'Any', 'Empty'].map((name) => `google.protobuf.${name}`));
    const fields = [...allFields()];
    expect(fields.length).toBeGreaterThan(300);
    expect(fields.filter(([, { message }]) => message && loose.has(message.typeName)).map(([name]) => name)).toEqual(
      [],
    );
    const whole = services.flatMap(({ methods }) => methods.flatMap(({ input, output }) => [input, output]));
    expect(whole.filter(({ typeName }) => loose.has(typeName))).toEqual([]);
  });

  it('P2-01: a field that the schema does not know is refused by every write, and nothing happens', async () => {
    const version = async () => (await queryAsOwner(gate.database, 'SELECT version FROM control_version'))[0];
    const before = await version();
    for (const { access, path } of methodTable()) {
      if (access !== 'write') continue;
      const headers = { ...json, ...bearer(gate.adminKey) };
      const refused = await send(gate.url, { method: 'POST', path, headers, body: '{"limitUsd":1}' });
      expect([refused.status, refused.json.code], path).toEqual([400, 'invalid_argument']);
      expect(refused.json.message, path).toContain('limitUsd');
    }
    expect(await version()).toEqual(before);
  });

  it('P2-01: money is whole nano-USD in 64 bits, exact beyond what a double holds', async () => {
    const fields = [...allFields()];
    const money = fields.filter(([name]) => /(nanousd|amount)$/.test(name));
    expect(money.length).toBeGreaterThan(20);
    for (const [name, field] of money) expect([name, field.scalar]).toEqual([name, ScalarType.INT64]);
    // What is no whole number is a time that was measured, or statistics, which nothing is paid by.
    const inexact = fields.filter(([, { scalar }]) => scalar === ScalarType.DOUBLE || scalar === ScalarType.FLOAT);
    const statistics =
      /_ms$|(score|rate|rating|evaluation|\.value|\.low|\.high|\.mean|\.p|\.weight|\.success|\.cost|\.duration)$/;
    expect(inexact.map(([name]) => name).filter((name) => !statistics.test(name))).toEqual([]);
    const beyond = (2n ** 53n + 1n).toString();
    const asked = {
      name: 'exact',
      unit: 'BUDGET_UNIT_USD',
      window: 'BUDGET_WINDOW_LIFETIME',
      mode: 'BUDGET_MODE_ENFORCE',
      limitAmount: beyond,
    };
    const { budget } = await gate.api<{ budget: { id: string; limitAmount: string } }>(
      'BudgetService/CreateBudget',
      asked,
    );
    expect(budget.limitAmount).toBe(beyond);
    const client = new StockClient(gate.grpcUrl);
    const read = await client.call('BudgetService/GetBudget', { budgetId: budget.id }, bearer(gate.adminKey));
    expect([read.code, read.answer.status.budget.limitAmount]).toEqual([status.OK, beyond]);
    client.close();
  });
});

describe('P2-02', () => {
  let gates: readonly [TestGate, TestGate];
  beforeAll(async () => {
    const env = { TRUSTED_PROXIES: '127.0.0.1' };
    const first = await startGate({ env });
    gates = [first, await startGate({ env: { ...env, ADMIN_API_KEY: first.adminKey }, database: first.database })];
  });
  afterAll(async () => {
    await gates?.[1].stop();
    await gates?.[0].stop();
  });

  it('P2-02: a key that must sign changes nothing without a signature, and a replayed or tampered one is refused on every replica', async () => {
    const [first, second] = gates;
    const { keyId, secret } = await first.agent('signer', { requireSignature: true });
    const { publicKey, privateKey } = newKeyPair();
    const registered = await first.api<{ signingKey: { id: string } }>('AgentService/RegisterSigningKey', {
      keyId,
      algorithm: 'SIGNATURE_ALGORITHM_ED25519',
      publicKey,
    });
    const signer = ed25519Signer(registered.signingKey.id, privateKey);
    const path = '/portcullis.v1.RunService/StartRun';
    const body = JSON.stringify({ workflow: 'nightly' });
    const plain = { ...json, ...bearer(secret) };
    const sign = (signed = body) =>
      signedHeaders(signer, { method: 'POST', url: first.url + path, headers: plain, body: signed });
    // The authority that was signed, at whichever replica it arrives.
    const { host } = new URL(first.url);
    const come = (to: TestGate, headers: Record<string, string>, sent = body, at = path): Promise<Answer> =>
      send(to.url, { method: 'POST', path: at, headers: { ...headers, host, ...fromNewAddress() }, body: sent });

    const signed = await sign();
    expect((await come(first, signed)).status).toBe(200);
    const { 'content-digest': _digest, ...undigested } = await sign();
    const refused = [
      await come(first, plain),
      await come(first, signed),
      await come(second, signed),
      await come(first, await sign(), body.replace('nightly', 'monthly')),
      await come(first, await sign('{}'), '{}', '/portcullis.v1.RunService/FinishRun'),
      await come(first, await sign(), body, `${path}?connect=v1`),
      await come(first, { ...(await sign()), authorization: `Bearer ${first.adminKey}` }),
      await come(first, undigested),
    ];
    expect(refused.map(({ status }) => status)).toEqual(refused.map(() => 401));
    expect(new Set(refused.map(({ json }) => json.message)).size).toBe(1);
    expect(await queryAsOwner(first.database, 'SELECT FROM runs')).toHaveLength(1);
  });
});

it('P2-03: an agent is who its SPIFFE certificate says, and a stolen key is worth nothing without the certificate that it is bound to', async () => {
  const { gate, authority, url, stop } = await startMtlsGate();
  try {
    const { agentId } = await gate.agent('builder');
    await gate.agent('other');
    const certificate = authority.agent('builder');
    expect(await whoIs(url, certificate)).toBe('builder');
    expect(await whoIs(url, {})).toMatch(/^E/);
    expect(await whoIs(url, authority.leaf({ uris: ['spiffe://example.com/agent/builder'] }))).toBe('401');
    const bound = await gate.api<{ secret: string }>('AgentService/CreateKey', {
      agentId,
      name: 'bound',
      kind: 'PRINCIPAL_KIND_AGENT',
      scopes: ['runs:write'],
      boundX5tS256: thumbprint(certificate.cert),
    });
    expect(await whoIs(url, certificate, bound.secret)).toBe('builder');
    expect(await whoIs(url, authority.agent('builder'), bound.secret)).toBe('401');
    expect(await whoIs(url, authority.agent('other'), bound.secret)).toBe('401');
    const client = new StockClient(gate.grpcUrl);
    const stolen = await client.call('RunService/StartRun', { workflow: 'theft' }, bearer(bound.secret));
    expect(stolen).toMatchObject({ code: status.UNAUTHENTICATED, answer: null });
    client.close();
  } finally {
    await stop();
  }
});

it('P2-04: a bill of the provider is imported and held against the ledger, what agrees is reconciled, and the drift is shown', async () => {
  const desk = await openBillDesk();
  try {
    const [yesterday, before] = [pastDay(1), pastDay(2)];
    const model = 'claude-haiku-4-5-20251001';
    await desk.attempt({ at: `${before}T10:00:00Z`, cost: 1_500_000_000n });
    await desk.attempt({ at: `${yesterday}T10:00:00Z`, cost: 2_000_000_000n });
    desk.vendor.answer('/v1/organizations/cost_report', {
      '': lastPage(
        anthropicDay(before, anthropicCost('150', model)),
        anthropicDay(yesterday, anthropicCost('800', model)),
      ),
    });
    desk.vendor.answer('/v1/organizations/usage_report/messages', {
      '': lastPage(anthropicDay(before, anthropicUsage(100, 0, model))),
    });
    const from = ['--provider', 'claude', '--base-url', desk.vendor.url, '--since', before];
    const imported = await desk.reconcile(['import', 'anthropic', ...from], { ANTHROPIC_ADMIN_KEY: adminKey });
    expect(imported, imported.stderr).toMatchObject({ code: 0 });
    const matches = await desk.matches('claude');
    expect(matches.map(({ day, state, unexplainedNanousd }) => [day, state, unexplainedNanousd])).toEqual([
      [yesterday, 'MATCH_STATE_DRIFTED', '6000000000'],
      [before, 'MATCH_STATE_RECONCILED', '0'],
    ]);
    const check = await desk.reconcile(['check', '--provider', 'claude']);
    expect(check).toMatchObject({ code: 1, stdout: expect.stringMatching(/drifted +\$8\.00 +\$2\.00 +\+\$6\.00/) });
  } finally {
    await desk.stop();
  }
});
