import { generateKeyPairSync, verify } from 'node:crypto';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type IncomingHttpHeaders } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { httpbis } from 'http-message-signatures';
import { afterAll, expect, it } from 'vitest';
import { runCommand } from '../../../test/support/cli.ts';
import { digestMatches } from '../identity/signatures/signature-fields.ts';
import { digestOfBody } from '../identity/signatures/node-request.ts';
import { publicKeyObject, readPublicKey } from '../identity/signatures/public-key.ts';

const folder = mkdtempSync(join(tmpdir(), 'portcullis-request-signing-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

it('a write whose answer fails is signed anew, under the same idempotency key, as another library reads it', async () => {
  const { publicKey, privateKey } = generateKeyPairSync('ed25519');
  const file = join(folder, 'key.pem');
  writeFileSync(file, privateKey.export({ type: 'pkcs8', format: 'pem' }));
  const seen: { url: string; headers: IncomingHttpHeaders; body: string }[] = [];
  const server = createServer((request, response) => {
    const { url = '', headers } = request;
    void text(request).then((body) => {
      seen.push({ url, headers, body });
      const failed = seen.length === 1;
      response.writeHead(failed ? 503 : 200, { 'content-type': 'application/json', 'x-request-id': 'req_1' });
      response.end(failed ? '{"code":"unavailable"}' : '{"agent":{"id":"agt_1","name":"builder"}}');
    });
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  try {
    const { code } = await runCommand(['agents', 'create', 'builder'], {
      environment: {
        PORTCULLIS_URL: url,
        PORTCULLIS_KEY: 'pcl_key',
        PORTCULLIS_SIGNING_KEY_ID: 'sgk_key',
        PORTCULLIS_SIGNING_KEY_FILE: file,
      },
    });
    expect(code).toBe(0);
  } finally {
    server.close();
  }
  const raw = readPublicKey(publicKey.export({ type: 'spki', format: 'pem' }));
  const nonces = new Set<string>();
  for (const { url: target, headers, body } of seen) {
    const keyLookup = async () => ({
      id: 'sgk_key',
      algs: ['ed25519'],
      verify: async (base: Buffer, signature: Buffer) => verify(null, base, publicKeyObject(raw), signature),
    });
    const message = { method: 'POST', url: url + target, headers: headers as Record<string, string> };
    expect(await httpbis.verifyMessage({ keyLookup, all: true }, message)).toBe(true);
    expect(digestMatches(headers['content-digest'] as string, digestOfBody(Buffer.from(body)))).toBe(true);
    nonces.add(/nonce="([^"]+)"/.exec(String(headers['signature-input']))?.[1] ?? '');
  }
  expect(nonces.size).toBe(2);
  expect(new Set(seen.map(({ headers }) => headers['idempotency-key'])).size).toBe(1);
  expect(seen[0]!.headers['signature-input']).toContain('"idempotency-key"');
});
