import { createSecretKey, randomBytes } from 'node:crypto';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { formatApiKey, parseApiKey } from '../api-key.ts';
import { isOfLogin, loginKey, readRefreshCredential, refreshCredential } from './credentials.ts';
import { grantedScopes } from './granted-scopes.ts';
import { judgeRefresh } from './rules.ts';
import { grants, type Scope, scopes } from '../scopes.ts';
import { newUserCode, readUserCode } from './user-code.ts';

const key = createSecretKey(randomBytes(32));
const login = { id: 'lgn_0123456789abcdefghjkmnpqrs', seed: randomBytes(32) };
const generation = fc.integer({ min: 1, max: 999_999_999 });

describe('the credentials of a login', () => {
  it('are the same for a generation, and others for every other generation, login, seed and server', () => {
    const others = [
      [createSecretKey(randomBytes(32)), login],
      [key, { ...login, seed: randomBytes(32) }],
      [key, { ...login, id: login.id.replace('0', '1') }],
    ] as const;
    fc.assert(
      fc.property(generation, generation, (one, other) => {
        fc.pre(one !== other);
        expect(refreshCredential(key, login, one)).toBe(refreshCredential(key, login, one));
        expect(loginKey(key, login, one)).toEqual(loginKey(key, login, one));
        expect(loginKey(key, login, one)).not.toEqual(loginKey(key, login, other));
        expect(parseApiKey(formatApiKey(loginKey(key, login, one)))).toEqual(loginKey(key, login, one));
        for (const [otherKey, otherLogin] of others) {
          expect(refreshCredential(otherKey, otherLogin, one)).not.toBe(refreshCredential(key, login, one));
          expect(loginKey(otherKey, otherLogin, one)).not.toEqual(loginKey(key, login, one));
        }
      }),
    );
  });

  it('are recognised whatever their generation, and nothing else is', () => {
    fc.assert(
      fc.property(generation, fc.nat(90), fc.stringMatching(/^[\w-]$/), (of, at, character) => {
        const text = refreshCredential(key, login, of);
        const presented = readRefreshCredential(text);
        expect(presented).toEqual({ loginId: login.id, generation: of, text });
        expect(presented && isOfLogin(key, login, presented)).toBe(true);
        fc.pre(at < text.length && text[at] !== character);
        const changed = readRefreshCredential(text.slice(0, at) + character + text.slice(at + 1));
        expect(changed !== null && isOfLogin(key, login, changed)).toBe(false);
      }),
    );
    fc.assert(fc.property(fc.string({ unit: 'binary' }), (text) => readRefreshCredential(text) === null));
  });
});

it('a refresh credential is good once, again for a minute until its successor was used, and stolen from then on', () => {
  const now = { generation: 7, sinceMs: 0, isUsed: false };
  expect(judgeRefresh(7, { ...now, sinceMs: 1e9, isUsed: true })).toBe('current');
  expect(judgeRefresh(6, { ...now, sinceMs: 60_000 })).toBe('again');
  expect(judgeRefresh(6, { ...now, sinceMs: 60_001 })).toBe('reused');
  expect(judgeRefresh(6, { ...now, sinceMs: 10_000, isUsed: true })).toBe('again');
  expect(judgeRefresh(6, { ...now, sinceMs: 10_001, isUsed: true })).toBe('reused');
  expect(judgeRefresh(5, now)).toBe('reused');
  expect(judgeRefresh(8, now)).toBe('unknown');
  expect(judgeRefresh(0, { ...now, generation: 1 })).toBe('again');
  expect(judgeRefresh(0, { ...now, generation: 2 })).toBe('reused');
});

it('a login gets nothing that was not asked for or that the person lacks, and admin only by its name', () => {
  const some = fc.subarray([...scopes]);
  fc.assert(
    fc.property(fc.option(some), some, (asked, held) => {
      const granted = new Set<Scope>(grantedScopes(asked, new Set(held)));
      for (const scope of scopes) {
        const wanted = asked === null ? scope !== 'admin' : grants(new Set(asked), scope);
        expect(grants(granted, scope)).toBe(wanted && grants(new Set(held), scope));
      }
    }),
  );
});

describe('a user code', () => {
  it('is read back however it is typed', () => {
    for (let times = 0; times < 200; times++) {
      const code = newUserCode();
      expect(code).toMatch(/^[BCDFGHJKLMNPQRSTVWXZ]{4}-[BCDFGHJKLMNPQRSTVWXZ]{4}$/);
      const [one = '', two = ''] = code.toLowerCase().split('-');
      for (const typed of [code, one + two, `  ${one} ${two} `, `${one}_${two}`, `${one}.-${two}`])
        expect(readUserCode(typed)).toBe(code);
    }
  });

  it.each(['', 'BBBB', 'BBBB-BBBA', 'BBBB-BBBB-B', 'ВВВВ-ВВВВ', 'BBBB\u0000BBBB', 'B'.repeat(10_000)])(
    'is not %j',
    (text) => expect(readUserCode(text)).toBeNull(),
  );
});
