import { mkdirSync, openSync } from 'node:fs';
import { dirname } from 'node:path';
import pino, { type DestinationStream, type Logger, destination as openDestination } from 'pino';
import { PortcullisError } from './errors.ts';

export type { Logger } from 'pino';

/** Fields that may carry a credential if somebody logs a whole object by mistake. */
const secretFields = [
  'authorization',
  'x-api-key',
  'cookie',
  'set-cookie',
  'password',
  'secret',
  'token',
  'apiKey',
  'api_key',
  'proxy-authorization',
  'x-portcullis-key',
];

const redactPaths = secretFields.flatMap((field) => [`["${field}"]`, `*["${field}"]`, `*.*["${field}"]`]);

// What our own keys and the common providers' keys look like, wherever in a text they appear.
const secretPattern =
  /\b(pcl_[A-Za-z0-9]{12}_|pcr_[0-9a-z]{26}_\d+_|pcd_|sk-(?:ant-)?|Bearer\s+)[A-Za-z0-9._~+/=-]{16,}/g;

/** Replaces everything in `text` that looks like a credential; the recognisable prefix stays. */
export function scrub(text: string): string {
  return text.replace(secretPattern, '$1[redacted]');
}

// A write to the system for every line would cost a model call more than its scan and its checks together. What is
// buffered goes out by itself, and when the process ends; `kill -9` can lose this much of the log (the ledger never waits).
const buffered = { sync: false, minLength: 32_768, maxWrite: 65_536, periodicFlush: 100 };

/**
 * Where lines go: a file, else a standard stream.
 * @throws PortcullisError invalid_argument when the file cannot be written
 */
export function logDestination(file: string | null, descriptor: 1 | 2): DestinationStream {
  try {
    return openDestination({ ...buffered, dest: file === null ? descriptor : openLogFile(file) });
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new PortcullisError('invalid_argument', `The log cannot be written: ${reason}.`, { cause });
  }
}

// Opened here, so that one that cannot be written is known before anything is started.
function openLogFile(file: string): number {
  mkdirSync(dirname(file), { recursive: true });
  return openSync(file, 'a', 0o600);
}

/** JSON lines to standard output, or to `destination` (a file, or a buffer in tests). */
export function createLogger(level: string, destination?: DestinationStream): Logger {
  const options: pino.LoggerOptions = {
    level,
    base: null,
    timestamp: () => `,"ts":"${new Date().toISOString()}"`,
    formatters: { level: (label) => ({ level: label }) },
    redact: { paths: redactPaths, censor: '[redacted]' },
    serializers: {
      err: (error: unknown) =>
        error instanceof Error
          ? { name: error.name, message: scrub(error.message), stack: scrub(error.stack ?? '') }
          : error,
    },
  };
  return destination ? pino(options, destination) : pino(options);
}

/** A logger for lines that are made field by field and hold nothing to redact: looking for it would cost more than writing them. */
export function withoutRedaction(log: Logger): Logger {
  return log.child({}, { redact: [] });
}
