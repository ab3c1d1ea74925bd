import pino, { type DestinationStream, type Logger } from 'pino';

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
const secretPattern = /\b(pcl_[A-Za-z0-9]{12}_|sk-(?:ant-)?|Bearer\s+)[A-Za-z0-9._~+/=-]{16,}/g;

/** Replaces everything in `text` that looks like a credential; the recognisable prefix stays. */
export function scrub(text: string): string {
  return text.replace(secretPattern, '$1[redacted]');
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
