import { DatabaseError } from 'pg';

// Class 08 connection, 28 authorization, 40 rolled back for others' sake (deadlock, serialization), 53 resources, 57P server shutdown and start, 58 system (PostgreSQL, appendix A).
const unavailableStates = /^(08|28|40|53|57P|58)/;

const otherUnavailableStates = new Set([
  '25006', // read_only_sql_transaction: a standby took the address
  '25P03', // idle_in_transaction_session_timeout
  '3D000', // the database does not exist
  '55000', // the database takes no connections (ALLOW_CONNECTIONS false, as before it is dropped)
  '55P03', // lock_timeout
  '57014', // statement_timeout
]);

const networkCodes = new Set([
  'EACCES',
  'EAI_AGAIN',
  'ECONNREFUSED',
  'ECONNRESET',
  'EHOSTUNREACH',
  'ENETUNREACH',
  'ENOENT',
  'ENOTFOUND',
  'EPIPE',
  'ETIMEDOUT',
]);

// The driver gives these no code.
const driverMessages =
  /^(Connection terminated|timeout exceeded when trying to connect|timeout expired|Query read timeout|Client has encountered a connection error|Client was closed|Cannot use a pool after calling end)/;

/**
 * True when the database could not do it now, whatever was asked: away, starting, full, or slower than the bounds of
 * the connection. A refusal of the statement itself (constraint, syntax) is false.
 */
export function isUnavailable(error: unknown): boolean {
  if (error instanceof DatabaseError) {
    const state = error.code ?? '';
    return unavailableStates.test(state) || otherUnavailableStates.has(state);
  }
  if (!(error instanceof Error)) return false;
  if ('code' in error && networkCodes.has(String(error.code))) return true;
  return driverMessages.test(error.message) || (error.cause !== undefined && isUnavailable(error.cause));
}

// Class 08 connection, 57P server shutdown, 58 system: the connection may have ended between a commit and its acknowledgement.
const endsConnection = /^(08|57P|58)/;

/** True when the server answered the statement, or its COMMIT, with an error of its own: then nothing of it was written. */
export function isRolledBack(error: unknown): boolean {
  return error instanceof DatabaseError && !endsConnection.test(error.code ?? '');
}

/** True when another transaction held a row or a lock for longer than DATABASE_LOCK_MS lets a statement wait. */
export function isLockTimeout(error: unknown): boolean {
  return error instanceof DatabaseError && error.code === '55P03';
}

/** True when `error` is the violation (SQLSTATE class 23) of the constraint or unique index named. */
export function violates(error: unknown, constraintName: string): boolean {
  return error instanceof DatabaseError && error.code?.startsWith('23') === true && error.constraint === constraintName;
}
