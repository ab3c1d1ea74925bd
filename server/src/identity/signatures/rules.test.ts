import { connect, createServer } from 'node:http2';
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { describe, expect, it } from 'vitest';
import type { SignedRequest } from './model.ts';
import { emptyDigest, signedRequestOf } from './node-request.ts';
import { combineFields, coversRequest, heldUntilMs, signatureBase, whyUntimely } from './rules.ts';

describe('times', () => {
  const now = 1_800_000_000;
  const at = (created: number, expires: number) =>
    whyUntimely(
      { components: [], params: '', created, expires, nonce: '', keyid: '', alg: '', signature: Buffer.alloc(0) },
      now * 1000,
    );

  it('hold for at most 300 seconds, with 30 for clocks that differ, to the second', () => {
    expect(at(now, now + 300)).toBeNull();
    expect(at(now, now + 301)).toBe('signature_window');
    expect(at(now, now)).toBe('signature_window');
    expect(at(now + 30, now + 330)).toBeNull();
    expect(at(now + 31, now + 331)).toBe('signature_future');
    expect(at(now - 330, now - 30)).toBeNull();
    expect(at(now - 331, now - 31)).toBe('signature_stale');
    expect(at(now - 60, now - 30)).toBeNull();
    expect(at(now - 60, now - 31)).toBe('signature_expired');
  });

  it('refuse numbers at the end of what can be said', () => {
    expect(at(-999_999_999_999_999, 999_999_999_999_999)).toBe('signature_window');
    expect(at(999_999_999_999_699, 999_999_999_999_999)).toBe('signature_future');
    expect(at(-999_999_999_999_999, -999_999_999_999_699)).toBe('signature_stale');
  });

  it('keep a nonce for as long as its signature could hold', () => {
    const given = {
      components: [],
      params: '',
      created: now,
      expires: now + 300,
      nonce: '',
      keyid: '',
      alg: '',
      signature: Buffer.alloc(0),
    };
    expect(whyUntimely(given, heldUntilMs(given))).toBeNull();
    expect(whyUntimely(given, heldUntilMs(given) + 1)).not.toBeNull();
  });
});

describe('what is covered', () => {
  const all = ['@method', '@authority', '@path', '@query'];
  const covers = (components: string[], method: string, ...raw: string[]) =>
    coversRequest(components, method, combineFields(raw));

  it('has a digest of the body unless there is none for sure', () => {
    expect(covers(all, 'GET')).toBe(true);
    expect(covers(all, 'HEAD')).toBe(true);
    expect(covers(all, 'POST', 'content-length', '0')).toBe(true);
    expect(covers(all, 'POST')).toBe(false);
    expect(covers(all, 'POST', 'content-length', '1')).toBe(false);
    expect(covers(all, 'POST', 'transfer-encoding', 'chunked')).toBe(false);
    expect(covers(all, 'POST', 'content-length', '0', 'content-length', '0')).toBe(false);
    expect(covers([...all, 'content-digest'], 'POST', 'content-digest', 'sha-256=:AA==:')).toBe(true);
    expect(covers(all, 'GET', 'content-digest', 'sha-256=:AA==:')).toBe(false);
  });

  it.each([
    'content-encoding',
    'content-type',
    'grpc-encoding',
    'idempotency-key',
    'x-portcullis-run',
    'portcullis-cache',
    'x-claude-code-session-id',
    'anthropic-version',
    'anthropic-beta',
    'openai-beta',
    'authorization',
    'x-api-key',
    'x-portcullis-key',
    'chatgpt-account-id',
    'openai-organization',
    'openai-project',
  ])('has %s where the request has it', (name) => {
    expect(covers(all, 'GET', name, 'a')).toBe(false);
    expect(covers([...all, name], 'GET', name, 'a')).toBe(true);
    expect(covers([...all, name], 'GET')).toBe(false);
  });

  it('is bounded', () => {
    const raw = Array.from({ length: 40 }, (_, i) => [`x-${i}`, '1']).flat();
    const names = Array.from({ length: 28 }, (_, i) => `x-${i}`);
    expect(covers([...all, ...names], 'GET', ...raw)).toBe(true);
    expect(covers([...all, ...names, 'x-28'], 'GET', ...raw)).toBe(false);
  });

  it('is no pseudo-header, and nothing of the prototype', () => {
    expect(covers([...all, ':path'], 'GET', ':path', '/')).toBe(false);
    expect(covers([...all, 'constructor'], 'GET')).toBe(false);
    expect(covers([...all, '@signature-params'], 'GET')).toBe(false);
  });
});

describe('a signature base', () => {
  const request = { method: 'GET', url: '/', authority: 'a' };
  const base = (components: string[], raw: string[], of = request) =>
    signatureBase({ components, params: '()' }, of, combineFields(raw));

  it('has no lines but its own', () => {
    expect(base(['x'], ['x', 'one\n"@method": POST'])).toBeNull();
    expect(base(['x'], ['x', 'one\rtwo'])).toBeNull();
    expect(base(['x'], ['x', 'one'])).toBe('"x": one\n"@signature-params": ()');
  });

  it('is not made of targets in other forms than the one that routes know', () => {
    expect(base(['@path'], [], { ...request, url: 'http://a/' })).toBeNull();
    expect(base(['@path'], [], { ...request, url: '*' })).toBeNull();
    expect(base(['@path'], [], { ...request, url: '' })).toBeNull();
    expect(base(['@path', '@query'], [], { ...request, url: '/a?b?c' })).toBe(
      '"@path": /a\n"@query": ?b?c\n"@signature-params": ()',
    );
  });

  it('trims blanks in time that grows with the value alone', () => {
    const blanks = ' '.repeat(200_000);
    expect(combineFields(['X-A', `${blanks}a${blanks}b${blanks}`]).get('x-a')).toBe(`a${blanks}b`);
  });
});

it('a request over HTTP/2 is read with its pseudo-headers, and native gRPC is told from gRPC-Web', async () => {
  const seen: SignedRequest[] = [];
  const server = createServer((request, response) => {
    seen.push(signedRequestOf(request, '192.0.2.1', () => emptyDigest));
    response.end();
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const session = connect(`http://127.0.0.1:${(server.address() as AddressInfo).port}`);
  for (const type of ['application/grpc', 'application/grpc+proto', 'application/grpc-web', 'application/json']) {
    const headers = {
      ':method': 'POST',
      ':path': '/a?b',
      ':authority': 'Gate.example.com',
      'content-type': type,
      'x-a': ['1', '2'],
    };
    const stream = session.request(headers);
    stream.end();
    stream.resume();
    await once(stream, 'end');
  }
  session.close();
  server.close();
  expect(seen.map(({ protocol }) => protocol)).toEqual(['grpc', 'grpc', 'http', 'http']);
  expect(seen[0]).toMatchObject({ method: 'POST', url: '/a?b', authority: 'Gate.example.com' });
  const fields = combineFields(seen[0]?.rawHeaders ?? []);
  expect(fields.get('x-a')).toBe('1, 2');
  expect(signatureBase({ components: ['@authority', '@query'], params: '()' }, seen[0]!, fields)).toBe(
    '"@authority": gate.example.com\n"@query": ?b\n"@signature-params": ()',
  );
});
