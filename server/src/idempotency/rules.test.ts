import fc from 'fast-check';
import { expect, test } from 'vitest';
import { standingOf } from './rules.ts';

const fingerprint = Buffer.alloc(32, 1);
const record = { fingerprint, leaseUntil: 1_000, finishedAt: null, answer: null };

test('a key stands for its request alone, whatever became of that', () => {
  const records = fc.record({
    leaseUntil: fc.integer(),
    finishedAt: fc.option(fc.integer()),
    answer: fc.option(fc.constant(Buffer.from('answer'))),
  });
  fc.assert(
    fc.property(records, fc.integer(), (known, now) => {
      expect(standingOf({ ...known, fingerprint: Buffer.alloc(32, 2) }, fingerprint, now)).toBe('mismatch');
    }),
  );
});

test('a claim is in progress until its lease is over, to the millisecond, and unknown from then on', () => {
  expect(standingOf(record, fingerprint, 999)).toBe('in_progress');
  expect(standingOf(record, fingerprint, 1_000)).toBe('unknown');
  expect(standingOf(record, fingerprint, 1e12)).toBe('unknown');
});

test('a finished call is replayed, also when it finished after its lease, or is known not to be kept', () => {
  const finished = { ...record, finishedAt: 2_000, answer: Buffer.from('answer') };
  for (const now of [0, 1_500, 1e12]) {
    expect(standingOf(finished, fingerprint, now)).toBe('replay');
    expect(standingOf({ ...finished, answer: null }, fingerprint, now)).toBe('not_kept');
  }
});
