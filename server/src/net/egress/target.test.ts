import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import ipaddr from 'ipaddr.js';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { parseAllowedTarget } from '../../config/allowed-targets.ts';
import { kindOf } from './addresses.ts';
import { type AllowedTarget, EgressError } from './model.ts';
import { vet } from './resolve.ts';
import { judgeTarget } from './target.ts';

interface Vector {
  readonly url: string;
  readonly allow?: readonly string[];
  readonly answers?: readonly string[];
  readonly is: string;
}

const path = resolve(import.meta.dirname, '../../../../test/vectors/egress.json');
const { vectors } = JSON.parse(readFileSync(path, 'utf8')) as { vectors: Vector[] };

function allowed(text: string): AllowedTarget {
  const target = parseAllowedTarget(text);
  if (target === null) throw new Error(`${text} is no host:port`);
  return target;
}

function verdict({ url, allow = [], answers }: Vector, writtenBy: 'operator' | 'others' = 'others'): string {
  const allowPrivate = allow.map(allowed);
  try {
    const target = judgeTarget(url, { allowPrivate, writtenBy });
    if (answers) vet(target.host, answers, target.reach);
    return 'ok';
  } catch (error) {
    if (error instanceof EgressError) return error.reason;
    throw error;
  }
}

describe('The table of targets', () => {
  it('has at least 250 entries, each once', () => {
    expect(vectors.length).toBeGreaterThanOrEqual(250);
    expect(new Set(vectors.map((vector) => JSON.stringify(vector))).size).toBe(vectors.length);
  });

  it('holds, entry by entry', () => {
    const wrong = vectors.flatMap((vector) => {
      const got = verdict(vector);
      return got === vector.is ? [] : [`${JSON.stringify(vector)} got ${got}`];
    });
    expect(wrong).toEqual([]);
  });

  it('lets nothing to a metadata service that the operator wrote, either', () => {
    const metadata = vectors.filter(({ is }) => is === 'metadata_address');
    expect(metadata.length).toBeGreaterThan(30);
    for (const vector of metadata) expect(verdict(vector, 'operator'), vector.url).toBe('metadata_address');
  });

  it('lets what the operator wrote be private and in the clear', () => {
    for (const url of [
      'http://127.0.0.1:3000/jwks',
      'http://keycloak:8080/',
      'https://[fd00::1]/',
      'http://localhost/',
    ]) {
      expect(verdict({ url, is: 'ok' }, 'operator'), url).toBe('ok');
    }
    expect(verdict({ url: 'http://keycloak:8080/', answers: ['10.1.2.3'], is: '' }, 'operator')).toBe('ok');
    expect(verdict({ url: 'http://keycloak:8080/', answers: ['169.254.169.254'], is: '' }, 'operator')).toBe(
      'private_answer',
    );
    expect(verdict({ url: 'http://me:pw@keycloak:8080/', is: '' }, 'operator')).toBe('userinfo');
  });
});

describe('Addresses', () => {
  it('are never more public than another library says', () => {
    const bytes = (length: number) => fc.uint8Array({ minLength: length, maxLength: length });
    // Most random bytes are public: half of them begin with what a registry lists.
    const starts = vectors
      .flatMap(({ answers = [] }) => answers)
      .filter((text) => ipaddr.isValid(text) && !text.includes('%'));
    const near = fc
      .tuple(fc.constantFrom(...starts), bytes(16), fc.integer({ min: 8, max: 64 }))
      .map(([text, more, keep]) => {
        const start = ipaddr.parse(text).toByteArray();
        return Uint8Array.from(start, (byte, at) => (at * 8 < keep ? byte : (more[at] ?? 0)));
      });
    const { counterexample } = fc.check(
      fc.property(fc.oneof(bytes(4), bytes(16), near), (address) => {
        const parsed = ipaddr.fromByteArray([...address]);
        return parsed.range() === 'unicast' || kindOf(parsed.toString()) !== 'global';
      }),
      { numRuns: 5_000 },
    );
    expect(counterexample).toBeNull();
  });
});
