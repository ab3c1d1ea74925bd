import { randomBytes } from 'node:crypto';
import { request as httpRequest } from 'node:http';
import { text } from 'node:stream/consumers';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { deriveKeys } from '../server/src/config/secrets.ts';
import { queryAsOwner } from './support/database.ts';
import { eventually, fromNewAddress } from './support/doors.ts';
import { secretsKey, startGate, type TestGate } from './support/gate.ts';
import {
  insertVectorKeys,
  signWith,
  type Vector,
  vectorFile,
  type VectorRequest,
} from './support/signature-vectors.ts';

const sentence =
  'This request must carry a signature that holds, made anew for each request: docs/signatures.md says how.';

let gates: readonly [TestGate, TestGate];

beforeAll(async () => {
  const env = { TRUSTED_PROXIES: '127.0.0.1', ALLOWED_HOSTS: 'gate.example.com,other.example.com' };
  const first = await startGate({ env });
  gates = [first, await startGate({ env, database: first.database })];
  const [project] = await queryAsOwner<{ id: string }>(first.database, 'SELECT id FROM projects');
  await insertVectorKeys(first.database, project!.id, deriveKeys(secretsKey));
});
afterAll(async () => {
  await gates?.[1].stop();
  await gates?.[0].stop();
});

interface Played {
  readonly status: number;
  readonly body: string;
  readonly requestId: string;
}

/** Sends these very headers to a gate, from an address of its own. */
function play(gate: TestGate, { method, target, authority, headers, body }: VectorRequest): Promise<Played> {
  const requestId = `vector-${randomBytes(8).toString('hex')}`;
  const { hostname, port } = new URL(gate.url);
  const raw = [
    ...headers,
    ...Object.entries(fromNewAddress()),
    ['x-request-id', requestId],
    ['host', authority],
  ].flat();
  return new Promise((resolve, reject) => {
    const sent = httpRequest({ hostname, port, method, path: target, agent: false, setHost: false, headers: raw });
    sent.once('error', reject);
    sent.once('response', (response) => {
      text(response).then((read) => resolve({ status: response.statusCode ?? 0, body: read, requestId }), reject);
    });
    sent.end(body);
  });
}

/** The vector as if it were made now, since a gate has no other clock than the world's. */
function madeNow({
  request,
  signature_base: base,
  signed_with: key,
  signature_as_it_is: asItIs,
}: Vector): VectorRequest {
  const later = Math.floor(Date.now() / 1000) - vectorFile.now;
  const shift = (text: string) =>
    text.replace(/(created|expires)=(\d{9,})/g, (_, name: string, at: string) => `${name}=${Number(at) + later}`);
  const signature = key === null || base === null || asItIs ? null : [signWith(key, base), signWith(key, shift(base))];
  const headers = request.headers.map(([name, value]) => {
    if (name === 'signature-input') return [name, shift(value)] as const;
    return [name, name === 'signature' && signature ? value.replaceAll(signature[0]!, signature[1]!) : value] as const;
  });
  return { ...request, headers };
}

/** The reason that the log of a gate has for a request. */
async function reasonOf(gate: TestGate, requestId: string): Promise<unknown> {
  const lines = (await gate.settledLog()).split('\n').filter((line) => line.includes(requestId));
  return lines.map((line) => JSON.parse(line) as Record<string, unknown>).find(({ status }) => status)?.['auth_reason'];
}

const named = (wanted: (vector: Vector) => boolean) =>
  vectorFile.vectors.filter(wanted).map((vector) => [vector.name, vector] as const);

describe('the published vectors, at two gates on one database', () => {
  it.each(named(({ expected }) => expected === 'valid'))('let through once: %s', async (_name, vector) => {
    const [first, second] = gates;
    const request = madeNow(vector);
    expect(await play(first, request)).toMatchObject({ status: 200 });
    const again = await play(second, request);
    expect(again.status).toBe(401);
    expect(await reasonOf(second, again.requestId)).toBe('signature_replayed');
  });

  it.each(named(({ expected }) => expected !== 'valid'))('refuse: %s', async (_name, vector) => {
    const [first, second] = gates;
    const request = madeNow(vector);
    // All but the last time at the other replica.
    for (let times = vector.times ?? 1; times > 1; times--) expect((await play(second, request)).status).toBe(200);
    const played = await play(first, request);
    expect(played.status).toBe(401);
    // An answer to HEAD has no body.
    expect(request.method === 'HEAD' ? sentence : sentenceOf(played.body)).toBe(sentence);
    expect(await reasonOf(first, played.requestId)).toBe(vector.expected);
  });

  it('are counted by what they came to', async () => {
    const [{ url, adminKey }] = gates;
    const answer = await fetch(`${url}/metrics`, { headers: { authorization: `Bearer ${adminKey}` } });
    const read = await answer.text();
    expect(read).toMatch(/^request_signatures_total\{verdict="valid"\} [1-9]/m);
    expect(read).toMatch(/^request_signatures_total\{verdict="signature_bad"\} [1-9]/m);
  });

  it('leave an entry in the audit log for each kind of refusal', async () => {
    await eventually(async () => {
      const rows = await queryAsOwner<{ payload: { reason: string }; target: string }>(
        gates[0].database,
        "SELECT payload, target FROM audit_entries WHERE action = 'credential.refused'",
      );
      const reasons = new Set(rows.map(({ payload }) => payload.reason));
      const expected = vectorFile.vectors.map((vector) => vector.expected).filter((reason) => reason !== 'valid');
      expect([...new Set(expected)].filter((reason) => !reasons.has(reason))).toEqual([]);
      expect(new Set(rows.map(({ target }) => target))).toContain(vectorFile.api_keys['key-a']!.id);
    });
  });
});

/** Connect's shape, and that of the models door. */
function sentenceOf(body: string): unknown {
  const { message, error } = JSON.parse(body) as { message?: string; error?: { message: string } };
  return message ?? error?.message;
}
