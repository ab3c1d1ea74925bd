import { randomBytes } from 'node:crypto';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { AgentService } from '../gen/portcullis/v1/agent_pb.ts';
import { PageTokens } from './page-tokens.ts';

const tokens = new PageTokens(randomBytes(32));
const list = { method: AgentService.method.listAgents, projectId: 'prj_a' };
const next = (cursor: string | null, of = list, by = tokens) => by.next(of, { items: [], nextCursor: cursor });
const read = (pageToken: string, of = list, by = tokens) => by.read(of, { pageSize: 7, pageToken });

describe('a page token', () => {
  test('brings its cursor back unchanged', () => {
    fc.assert(
      fc.property(fc.string({ minLength: 1, unit: 'grapheme' }), (cursor) => {
        expect(read(next(cursor))).toEqual({ pageSize: 7, cursor });
      }),
    );
  });

  test('is empty before the first page and after the last', () => {
    expect(read('')).toEqual({ pageSize: 7, cursor: null });
    expect(next(null)).toBe('');
  });

  test('of another list, another project or another key is refused', () => {
    const token = next('agt_1');
    const refused = expect.objectContaining({ code: 'invalid_argument' });
    expect(() => read(token, { ...list, method: AgentService.method.listKeys as never })).toThrow(refused);
    expect(() => read(token, { ...list, projectId: 'prj_b' })).toThrow(refused);
    expect(() => read(token, list, new PageTokens(randomBytes(32)))).toThrow(refused);
  });

  test('that anybody made or changed is refused', () => {
    const bytes = Buffer.from(next('agt_01'), 'base64url');
    fc.assert(
      fc.property(fc.nat(bytes.length - 1), fc.integer({ min: 1, max: 255 }), (at, flip) => {
        const changed = Buffer.from(bytes);
        changed[at]! ^= flip;
        expect(() => read(changed.toString('base64url'))).toThrow('not of this list');
      }),
    );
    fc.assert(
      fc.property(fc.string({ minLength: 1 }), (made) => {
        expect(() => read(made)).toThrow('not of this list');
      }),
    );
  });
});
