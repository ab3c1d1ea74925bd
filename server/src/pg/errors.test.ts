import { DatabaseError } from 'pg';
import { expect, test } from 'vitest';
import { isRolledBack, isUnavailable } from './errors.ts';

function answered(code: string): DatabaseError {
  return Object.assign(new DatabaseError('test', 4, 'error'), { code });
}

test('an error that the server answered with means that nothing was written, unless it ended the connection', () => {
  for (const code of ['55P03', '57014', '40P01', '40001', '23505', '53300'])
    expect(isRolledBack(answered(code))).toBe(true);
  // These can come after a commit and instead of its acknowledgement.
  for (const code of ['57P01', '57P02', '57P03', '08006', '58030']) expect(isRolledBack(answered(code))).toBe(false);
  expect(isRolledBack(new Error('Connection terminated unexpectedly'))).toBe(false);
});

test('what was rolled back for the sake of others, or for want of time, may be tried again', () => {
  for (const code of ['40P01', '40001', '55P03', '57014', '57P01']) expect(isUnavailable(answered(code))).toBe(true);
  for (const code of ['23505', '22003', '42601']) expect(isUnavailable(answered(code))).toBe(false);
});
