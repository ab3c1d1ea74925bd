import { describe, expect, it } from 'vitest';
import { credentialsIn, readCredential } from './credential.ts';

const token = { kind: 'token', text: 'secret-1' };
const unreadable = (reason: string) => ({ kind: 'unreadable', reason });

describe('a credential', () => {
  it('is read from x-api-key and from Authorization, whatever the case of the scheme', () => {
    expect(readCredential({ 'x-api-key': 'secret-1' }, '/')).toEqual(token);
    for (const scheme of ['Bearer', 'bearer', 'BEARER']) {
      expect(readCredential({ authorization: `${scheme} secret-1` }, '/')).toEqual(token);
    }
    expect(readCredential({ authorization: 'Bearer   secret-1 ' }, '/')).toEqual(token);
    expect(readCredential({ authorization: `Basic ${btoa('user:pa:ss')}` }, '/')).toEqual({
      kind: 'basic',
      text: 'user:pa:ss',
    });
  });

  it('is absent without either header, and with empty ones', () => {
    expect(readCredential({}, '/')).toEqual({ kind: 'none' });
    expect(readCredential({ authorization: '', 'x-api-key': '' }, '/')).toEqual({ kind: 'none' });
    expect(readCredential({ 'x-api-key': '', authorization: 'Bearer secret-1' }, '/')).toEqual(token);
  });

  it('may stand in both headers when it is the same', () => {
    expect(readCredential({ authorization: 'Bearer secret-1', 'x-api-key': 'secret-1' }, '/')).toEqual(token);
  });

  it('is refused beside another', () => {
    const other = { 'x-api-key': 'secret-2' };
    expect(readCredential({ authorization: 'Bearer secret-1', ...other }, '/')).toEqual(unreadable('conflicting'));
    expect(readCredential({ authorization: `Basic ${btoa('a:b')}`, ...other }, '/')).toEqual(unreadable('conflicting'));
    expect(readCredential({ authorization: 'Digest x', ...other }, '/')).toEqual(unreadable('conflicting'));
  });

  it('is read from x-portcullis-key as well, and must be the same there too', () => {
    const key = { 'x-portcullis-key': 'secret-1' };
    expect(readCredential(key, '/')).toEqual(token);
    expect(readCredential({ ...key, 'x-api-key': 'secret-1', authorization: 'Bearer secret-1' }, '/')).toEqual(token);
    expect(readCredential({ ...key, authorization: 'Bearer own' }, '/')).toEqual(unreadable('conflicting'));
    expect(readCredential({ ...key, 'x-api-key': 'own' }, '/')).toEqual(unreadable('conflicting'));
  });

  it("is x-portcullis-key alone where a caller's own credential may stand beside it", () => {
    const own = [{ authorization: 'Bearer own' }, { 'x-api-key': 'own' }, { authorization: 'Digest x' }, {}];
    for (const headers of own)
      expect(readCredential({ 'x-portcullis-key': 'secret-1', ...headers }, '/', true)).toEqual(token);
    expect(readCredential({ 'x-portcullis-key': 'a, b', authorization: 'Bearer own' }, '/', true)).toEqual(
      unreadable('malformed'),
    );
    // Without it nothing else than usual holds.
    expect(readCredential({ authorization: 'Bearer a', 'x-api-key': 'b' }, '/', true)).toEqual(
      unreadable('conflicting'),
    );
    expect(readCredential({ 'x-portcullis-key': '', authorization: 'Bearer secret-1' }, '/', true)).toEqual(token);
    expect(readCredential({ 'x-portcullis-key': 'secret-1' }, '/?x-portcullis-key=x', true)).toEqual(
      unreadable('in_url'),
    );
  });

  it('is refused in a form that nobody sends by intent', () => {
    expect(readCredential({ authorization: 'Bearer' }, '/')).toEqual(unreadable('malformed'));
    expect(readCredential({ authorization: 'Bearer a b' }, '/')).toEqual(unreadable('malformed'));
    expect(readCredential({ authorization: ['Bearer a', 'Bearer b'] }, '/')).toEqual(unreadable('malformed'));
    expect(readCredential({ 'x-api-key': ['a', 'b'] }, '/')).toEqual(unreadable('malformed'));
    expect(readCredential({ 'x-api-key': 'a, b' }, '/')).toEqual(unreadable('malformed'));
    expect(readCredential({ 'x-api-key': 'a'.repeat(16 * 1024 + 1) }, '/')).toEqual(unreadable('malformed'));
    expect(readCredential({ 'x-api-key': 'kéy' }, '/')).toEqual(unreadable('malformed'));
    expect(readCredential({ authorization: 'secret-1' }, '/')).toEqual(unreadable('unsupported_scheme'));
  });

  it('is refused in the query string under every name, also beside a good header', () => {
    const names = [
      'api_key',
      'apikey',
      'API_KEY',
      'key',
      'token',
      'access_token',
      'authorization',
      'api%5Fkey',
      'x-api-key',
    ];
    for (const name of names) {
      for (const url of [`/v1/models?${name}=x`, `/v1/models?a=1&${name}=x`, `/v1/models?a&${name}`]) {
        expect(readCredential({}, url)).toEqual(unreadable('in_url'));
        expect(readCredential({ 'x-api-key': 'secret-1' }, url)).toEqual(unreadable('in_url'));
      }
    }
  });

  it('leaves other parameters alone', () => {
    expect(readCredential({ 'x-api-key': 'secret-1' }, '/v1/models?beta=true&page_token=abc&monkey=1')).toEqual(token);
    expect(readCredential({ 'x-api-key': 'secret-1' }, '/v1/token/key')).toEqual(token);
  });
});

it('is looked for in all of a value that somebody else will see, and in what Basic hides', () => {
  expect(credentialsIn('Bearer  a')).toEqual(['Bearer  a', 'Bearer', 'a']);
  expect(credentialsIn('a,b c')).toEqual(expect.arrayContaining(['a,b c', 'a', 'b', 'c']));
  expect(credentialsIn(`basic ${btoa('user:pa:ss')}`)).toEqual(expect.arrayContaining(['user:pa:ss', 'user', 'pa:ss']));
  expect(credentialsIn(`Basic ${btoa('alone')}`)).toEqual(expect.arrayContaining(['alone']));
  expect(credentialsIn('')).toEqual(['', '']);
});
