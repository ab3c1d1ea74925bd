import { isIP } from 'node:net';
import { z } from 'zod';
import { ledgerDaysKeptMax, ledgerDaysKeptMin, policyRecordDaysMax } from '../base/limits.ts';

/** One option of the environment: its name, meaning and rules in one place. `docs/reference/config.md` and `.env.example` come from here. */
export interface Option<T> {
  readonly schema: z.ZodType<T>;
  /** The text that stands for "not set"; null means that the option has no default. */
  readonly fallback: string | null;
  readonly doc: string;
  readonly group: string;
  /** Secrets are also read from NAME_FILE, and never printed. */
  readonly secret: boolean;
}

interface Extra {
  readonly secret?: boolean;
}

function option<T>(
  group: string,
  schema: z.ZodType<T>,
  fallback: string | null,
  doc: string,
  extra: Extra = {},
): Option<T> {
  return { schema, fallback, doc, group, secret: extra.secret ?? false };
}

const text = z.string().min(1);
const optionalText = z.string().min(1).nullable();
const flag = z
  .string()
  .transform((value) => value.toLowerCase())
  .pipe(z.enum(['true', 'false', '1', '0', 'yes', 'no'], { error: 'write true or false' }))
  .transform((value) => value === 'true' || value === '1' || value === 'yes');
const list = z.string().transform((value) =>
  value
    .split(/[\s,]+/)
    .map((part) => part.trim())
    .filter((part) => part !== ''),
);
const origins = list.refine((all) => all.every((origin) => URL.parse(origin)?.origin === origin), {
  error: 'write origins like https://app.example.com, without a path',
});
const addressRanges = list.refine((all) => all.every(isAddressRange), {
  error: 'write addresses or ranges like 10.0.0.0/8',
});
const count = (min: number, max: number) =>
  z
    .string()
    .regex(/^\d+$/, 'write a whole number')
    .transform(Number)
    .pipe(z.number().int().min(min, `must be at least ${min}`).max(max, `must be at most ${max}`));
const keptDays = count(0, ledgerDaysKeptMax).refine((days) => days === 0 || days >= ledgerDaysKeptMin, {
  error: `must be 0 (keep all) or at least ${ledgerDaysKeptMin}`,
});
const address = z.string().transform((value, context) => {
  const match = /^(?:\[([0-9a-fA-F:]+)\]|([^:[\]]+)):(\d{1,5})$/.exec(value);
  const port = Number(match?.[3]);
  if (!match || port > 65_535) {
    context.addIssue({
      code: 'custom',
      message: 'write host:port, for example 127.0.0.1:8080 (port 0 is any free one)',
    });
    return z.NEVER;
  }
  return { host: match[1] ?? match[2] ?? '', port };
});
function isAddressRange(text: string): boolean {
  const [address = '', bits, ...more] = text.split('/');
  const width = { 0: 0, 4: 32, 6: 128 }[isIP(address)] ?? 0;
  return width > 0 && more.length === 0 && (bits === undefined || (/^\d{1,3}$/.test(bits) && Number(bits) <= width));
}
const publicUrl = z
  .url({ protocol: /^https?$/, error: 'write an http or https URL', abort: true })
  .refine((value) => new URL(value).href === `${new URL(value).origin}/`, {
    error: 'write it without a path, like https://gate.example.com: pages and cookies are those of a whole host',
  })
  .transform((value) => new URL(value).origin)
  .nullable();
const url = z.url({ protocol: /^https?$/, error: 'write an http or https URL' }).nullable();
const postgresUrl = z
  .string()
  .regex(/^postgres(ql)?:\/\//, 'write a postgres:// URL (for a local file-based start, leave it out and set DATA_DIR)')
  .nullable();

const listeners = 'Listeners';
const stores = 'Stores';
const identity = 'Identity';
const legacy = 'Legacy credentials';
const limits = 'Limits';
const models = 'Models';
const observing = 'Logs and metrics';

/** Every environment option that this version reads. */
export const options = {
  NODE_ENV: option(
    listeners,
    z.enum(['development', 'production', 'test']),
    'development',
    '`production` turns the production rules on: unsafe settings refuse to start.',
  ),
  HTTP_ADDR: option(listeners, address, '127.0.0.1:8080', 'Where the HTTP listener binds. Port 0 is any free one.'),
  GRPC_ADDR: option(
    listeners,
    z.union([z.literal('off').transform(() => null), address]),
    '127.0.0.1:50051',
    'Where the gRPC listener binds (HTTP/2 without TLS: on loopback, or behind a proxy that ends TLS). Port 0 is any free one; `off` opens none.',
  ),
  MTLS_ADDR: option(
    listeners,
    address.nullable(),
    null,
    'Where the listener for client certificates binds (TLS 1.3). None by default. It needs the four options below.',
  ),
  MTLS_CERT_FILE: option(
    listeners,
    optionalText,
    null,
    'The certificate of that listener with its chain, in PEM. This file and the next two are read again when they change.',
  ),
  MTLS_KEY_FILE: option(listeners, optionalText, null, 'The private key of that certificate, in PEM.'),
  MTLS_TRUST_BUNDLE_FILE: option(
    listeners,
    optionalText,
    null,
    'The authorities, in PEM, whose client certificates are accepted; no others are.',
  ),
  MTLS_TRUST_DOMAIN: option(
    listeners,
    z
      .string()
      .regex(/^[a-z0-9._-]{1,255}$/, 'write a SPIFFE trust domain like example.org')
      .nullable(),
    null,
    'The SPIFFE trust domain of those certificates: spiffe://<trust domain>/agent/<name or id> is that agent.',
  ),
  MTLS_PROJECT: option(listeners, text, 'default', 'The project whose agents the trust domain names.'),
  CLIENT_CERT_FROM_PROXIES: option(
    listeners,
    flag,
    'false',
    'TRUSTED_PROXIES end TLS and tell of verified client certificates in Client-Cert (RFC 9440), of which they let none through from outside; each must be in a range of /24 (IPv6: /120) or less. It needs MTLS_TRUST_BUNDLE_FILE and MTLS_TRUST_DOMAIN.',
  ),
  PUBLIC_URL: option(
    listeners,
    publicUrl,
    null,
    'The URL under which clients reach this server, without a path. Its host is allowed in the Host header.',
  ),
  ALLOWED_HOSTS: option(
    listeners,
    list,
    '',
    'Further names allowed in the Host header, separated by commas. Loopback names always are.',
  ),
  ALLOWED_ORIGINS: option(
    listeners,
    origins,
    '',
    'Browser origins that may call the API (CORS), separated by commas. None by default.',
  ),
  TRUSTED_PROXIES: option(
    listeners,
    addressRanges,
    '',
    'Addresses or CIDR ranges of proxies whose X-Forwarded-For is believed.',
  ),

  DATABASE_URL: option(
    stores,
    postgresUrl,
    null,
    'PostgreSQL 15 or later. Without it an embedded PostgreSQL starts in DATA_DIR.',
    { secret: true },
  ),
  MIGRATE_DATABASE_URL: option(
    stores,
    postgresUrl,
    null,
    'The owner role for `portcullis migrate`, where it differs from DATABASE_URL.',
    { secret: true },
  ),
  COPY_FROM_DATABASE_URL: option(
    stores,
    postgresUrl,
    null,
    'The database that `portcullis migrate --copy-from` copies, with a role that may read all of it.',
    { secret: true },
  ),
  DATABASE_POOL_MAX: option(
    stores,
    count(2, 500),
    '20',
    'Connections of the pool at most. A process has four more: two for the ledger, one on which rollups and the leaderboard are summed up, and one on which it reads control state; and one while it drops days that are over.',
  ),
  DATABASE_IDLE_MS: option(stores, count(0, 86_400_000), '300000', 'An idle connection is closed after this time.'),
  DATABASE_LIFETIME_MS: option(stores, count(0, 86_400_000), '1800000', 'A connection is replaced after this time.'),
  DATABASE_STATEMENT_MS: option(stores, count(100, 3_600_000), '15000', 'A statement is cancelled after this time.'),
  DATABASE_LOCK_MS: option(
    stores,
    count(0, 3_600_000),
    '5000',
    'A statement gives up waiting for a lock after this time.',
  ),
  DATABASE_CONNECT_MS: option(stores, count(100, 600_000), '5000', 'Connecting gives up after this time.'),
  LEDGER_RETENTION_DAYS: option(
    stores,
    keptDays,
    '90',
    'Attempts are dropped, a day at a time, so many days after their day ended; 0 keeps them all. Budgets do not need them.',
  ),
  TELEMETRY_EVENTS_RETENTION_DAYS: option(
    stores,
    keptDays,
    '90',
    'Events of runs are dropped, a day at a time, so many days after the day they occurred on ended; 0 keeps them all.',
  ),
  TELEMETRY_BENCHMARKS_RETENTION_DAYS: option(
    stores,
    keptDays,
    '180',
    'Benchmarks are dropped, a day at a time, so many days after their day ended; 0 keeps them all.',
  ),
  POLICY_RECORD_DAYS: option(
    stores,
    count(0, policyRecordDaysMax),
    '14',
    'What rules saw of each call (who, which model, the names of tools, sizes; no text of a conversation) is kept for so many days, for `portcullis policy simulate`; 0 records nothing.',
  ),
  DATA_DIR: option(
    stores,
    text,
    './data',
    'Where the embedded PostgreSQL, generated secrets and credentials.json live.',
  ),
  ALLOW_EMBEDDED_IN_PRODUCTION: option(stores, flag, 'false', 'Lets production run on the embedded PostgreSQL.'),
  CONFIG_FILE: option(stores, text, './portcullis.yaml', 'Providers, models and issuers; optional unless set.'),

  SECRETS_KEY: option(
    identity,
    optionalText,
    null,
    'Master key, 32 characters or more; derives the pepper of API keys, the key of page tokens, and what seals secrets at rest. Generated into DATA_DIR when embedded.',
    { secret: true },
  ),
  ADMIN_API_KEY: option(identity, optionalText, null, 'A bootstrap admin key of any format, 32 characters or more.', {
    secret: true,
  }),
  API_KEY: option(identity, optionalText, null, 'One static key, for a move from another system only.', {
    secret: true,
  }),
  API_KEY_SCOPES: option(identity, list, 'models:invoke tools:call runs:write', 'What API_KEY may do.'),
  AUTH_ISSUER: option(identity, url, null, 'Issuer of access tokens (the exact `iss`).'),
  AUTH_AUDIENCE: option(identity, list, '', 'Audience that access tokens must carry.'),
  JWKS_URI: option(identity, url, null, 'Where the issuer publishes its keys.'),
  AUTH_DOMAIN: option(
    identity,
    optionalText,
    null,
    'A tenant domain, from which AUTH_ISSUER and JWKS_URI are derived: https://DOMAIN/ and https://DOMAIN/.well-known/jwks.json.',
  ),

  ALLOW_LEGACY_AUTH_TOKEN: option(
    legacy,
    flag,
    'false',
    'Lets AUTH_TOKEN work; without it AUTH_TOKEN is ignored with a warning.',
  ),
  AUTH_TOKEN: option(legacy, optionalText, null, 'One shared token.', { secret: true }),
  AUTH_TOKEN_SCOPES: option(
    legacy,
    list,
    '',
    'What AUTH_TOKEN may do. Never keys:write, approvals:decide or policy:write.',
  ),
  ENABLE_BASIC_AUTH_FALLBACK: option(legacy, flag, 'false', 'HTTP Basic, in development only.'),
  BASIC_AUTH_USER: option(legacy, optionalText, null, 'The user name of the Basic fallback.'),
  BASIC_AUTH_PASS: option(legacy, optionalText, null, 'The password of the Basic fallback.', { secret: true }),
  ENABLE_REFLECTION: option(
    legacy,
    flag,
    'false',
    'gRPC reflection on GRPC_ADDR, without a credential. Refused in production.',
  ),

  RATE_LIMIT_API_PER_MINUTE: option(
    limits,
    count(1, 10_000_000),
    '600',
    'Control API calls per principal; sign-ins and pages count, too.',
  ),
  RATE_LIMIT_ADMIN_PER_MINUTE: option(limits, count(1, 10_000_000), '10', 'Metrics reads per principal.'),
  RATE_LIMIT_MODELS_PER_MINUTE: option(limits, count(1, 10_000_000), '1000', 'Model calls per API key.'),
  RATE_LIMIT_MODELS_TOKEN_PER_MINUTE: option(
    limits,
    count(1, 10_000_000),
    '100',
    'Model calls per subject of an access token.',
  ),
  CALLS_IN_FLIGHT_MAX: option(
    limits,
    count(1, 100_000),
    '2000',
    'Model calls in flight in one process; more are refused with 503.',
  ),
  CALLS_IN_FLIGHT_PER_KEY_MAX: option(
    limits,
    count(1, 100_000),
    '1000',
    'Model calls in flight per key or subject; more are refused with 429.',
  ),
  CONTROL_AGE_MAX_MS: option(
    limits,
    count(2_000, 600_000),
    '10000',
    'Control state older than this refuses new calls and ends streams in flight.',
  ),
  KILL_RELEASE_TWO_PEOPLE: option(
    limits,
    flag,
    'false',
    'The kill switch for everything is released by two people: one asks, another confirms in a session or with a key that they made themselves. Set it alike on all replicas.',
  ),
  DRAIN_MS: option(limits, count(0, 600_000), '30000', 'How long streams may go on after SIGTERM.'),

  MODEL_CONNECT_MS: option(models, count(100, 600_000), '10000', 'Connecting to a provider.'),
  MODEL_FIRST_BYTE_MS: option(
    models,
    count(100, 3_600_000),
    '300000',
    "From the call to the first event of a stream's answer, or the first byte of another; pings do not count.",
  ),
  MODEL_IDLE_MS: option(
    models,
    count(100, 3_600_000),
    '120000',
    'Silence in a stream, and a client that does not read.',
  ),
  STREAM_PING_MS: option(
    models,
    count(100, 3_600_000),
    '10000',
    'A streamed call that hears nothing else for this long gets a ping; its head waits no longer than this for an answer.',
  ),
  MODEL_TOTAL_MS: option(models, count(1_000, 86_400_000), '600000', 'A model call in all; streams too.'),

  METRICS_API_KEY: option(observing, optionalText, null, 'A static bearer for /metrics and /v1/metrics alone.', {
    secret: true,
  }),
  LOG_LEVEL: option(
    observing,
    z.enum(['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent']),
    'info',
    'What is logged.',
  ),
  LOG_FILE: option(observing, optionalText, null, 'Log to this file instead of standard output.'),
} as const satisfies Record<string, Option<unknown>>;

export type OptionName = keyof typeof options;
export type OptionValues = { readonly [N in OptionName]: z.infer<(typeof options)[N]['schema']> };

/** Names that other systems used, and ours. */
export const optionAliases: Readonly<
  Record<string, { readonly name: OptionName; readonly map?: (value: string) => string }>
> = {
  PORT: { name: 'HTTP_ADDR', map: (port) => `0.0.0.0:${port}` },
  METTLE_ENVIRONMENT: { name: 'NODE_ENV' },
  ENVIRONMENT: { name: 'NODE_ENV' },
  METTLE_DATABASE_URL: { name: 'DATABASE_URL' },
  METTLE_SECRET_KEY: { name: 'SECRETS_KEY' },
  METTLE_ADMIN_API_KEY: { name: 'ADMIN_API_KEY' },
};

/** Names of the family that this version does not read, and what to do instead; setting one gets this note at start. */
export const unreadNames: Readonly<Record<string, string>> = {
  METTLE_USE_DATABASE: 'it has no effect: a database is always used',
  VALKEY_URL: 'this version keeps rate limits in each process',
  SECRETS_KEY_PREVIOUS: 'this version cannot rotate SECRETS_KEY',
  HITL_SECRET: 'this version has no approvals',
  HITL_SECRET_PREVIOUS: 'this version has no approvals',
  SENTRY_DSN: 'this version sends no error reports',
};
