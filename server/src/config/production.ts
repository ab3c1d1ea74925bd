import type { ConfigFile } from './file.ts';
import type { OptionValues } from './options.ts';

const secretCharsMin = 32;

// Values that stand in tutorials and examples; a secret that contains one is not a secret.
const knownDefaults = [
  'changeme',
  'change-me',
  'secret',
  'password',
  'example',
  'default',
  'your-',
  'test',
  'admin',
  '1234567890',
];

/** Whether a secret is strong enough: 32 characters, not a known default, not one character over and over. */
export function isStrong(secret: string): boolean {
  const lower = secret.toLowerCase();
  return (
    secret.length >= secretCharsMin && new Set(secret).size >= 10 && !knownDefaults.some((word) => lower.includes(word))
  );
}

/** What production refuses to start on, one line each that says what to do. */
export function productionProblems(values: OptionValues): string[] {
  const problems: string[] = [];
  for (const name of ['AUTH_ISSUER', 'JWKS_URI'] as const) {
    const value = values[name];
    if (value !== null && isPlaintext(value))
      problems.push(`${name} is plaintext http: whoever is on the path could sign tokens.`);
  }
  const strong = ['SECRETS_KEY', 'ADMIN_API_KEY', 'API_KEY', 'METRICS_API_KEY', 'AUTH_TOKEN'] as const;
  if (values.SECRETS_KEY === null)
    problems.push('SECRETS_KEY is missing: generate one with `portcullis secrets generate`.');
  for (const name of strong) {
    const value = values[name];
    if (value !== null && !isStrong(value)) {
      problems.push(
        `${name} is weak: it must be ${secretCharsMin} characters or more and no known default (\`portcullis secrets generate\`).`,
      );
    }
  }
  if (values.ENABLE_BASIC_AUTH_FALLBACK)
    problems.push('Basic Auth fallback MUST be disabled in production: unset ENABLE_BASIC_AUTH_FALLBACK.');
  if (values.ENABLE_REFLECTION) problems.push('gRPC reflection must be off in production: unset ENABLE_REFLECTION.');
  if (values.PUBLIC_URL !== null && isPlaintext(values.PUBLIC_URL)) {
    problems.push('PUBLIC_URL is plaintext http: serve it over https, or keep to loopback.');
  }
  if (values.DATABASE_URL === null && !values.ALLOW_EMBEDDED_IN_PRODUCTION) {
    problems.push(
      'DATABASE_URL is missing: production does not use the embedded PostgreSQL unless ALLOW_EMBEDDED_IN_PRODUCTION=true.',
    );
  }
  return [...problems, ...wideProxies(values)];
}

/** Ranges of proxies so wide that others are likely to be in them, who would then be whomever they say they are. */
export function wideProxies({ CLIENT_CERT_FROM_PROXIES, TRUSTED_PROXIES }: OptionValues): string[] {
  if (!CLIENT_CERT_FROM_PROXIES) return [];
  const wide = TRUSTED_PROXIES.filter((range) => {
    const [network = '', bits] = range.split('/');
    return bits !== undefined && Number(bits) < (network.includes(':') ? 120 : 24);
  });
  return wide.map(
    (range) =>
      `CLIENT_CERT_FROM_PROXIES with ${range} in TRUSTED_PROXIES: any host of that range could name any client; write the addresses of the proxies, or ranges of /24 (IPv6: /120) at most.`,
  );
}

export function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '[::1]' || host === '::1' || /^127\.\d+\.\d+\.\d+$/.test(host);
}

/** What production would do well to have, one line each. */
export function productionNotes({ KILL_RELEASE_TWO_PEOPLE, GRPC_ADDR, TRUSTED_PROXIES }: OptionValues): string[] {
  const notes: string[] = [];
  if (!KILL_RELEASE_TWO_PEOPLE) {
    notes.push(
      'KILL_RELEASE_TWO_PEOPLE is off: one admin alone can release the kill switch for everything (docs/kill-switch.md).',
    );
  }
  if (GRPC_ADDR !== null && !isLoopback(GRPC_ADDR.host) && TRUSTED_PROXIES.length === 0) {
    notes.push(
      'GRPC_ADDR is off the loopback without TLS, and TRUSTED_PROXIES names no proxy that ends it: keys would cross a network in the clear (docs/grpc.md).',
    );
  }
  return notes;
}

/** What of the configuration file production refuses: keys of issuers and of providers must not cross a network in the clear. */
export function productionFileProblems({ issuers, providers, sign_in: signIn }: ConfigFile): string[] {
  const problems: string[] = [];
  for (const { issuer, jwks_uri: uri } of issuers) {
    if (isPlaintext(uri)) problems.push(`portcullis.yaml: issuer ${issuer}: jwks_uri is plaintext http.`);
  }
  if (signIn && isPlaintext(signIn.issuer)) problems.push('portcullis.yaml: sign_in: issuer is plaintext http.');
  for (const [name, { base_url: url, allow_private: allowed }] of Object.entries(providers)) {
    if (url !== undefined && !allowed && isPlaintext(url))
      problems.push(`portcullis.yaml: providers.${name}: base_url is plaintext http.`);
  }
  return problems;
}

function isPlaintext(url: string): boolean {
  const { protocol, hostname } = new URL(url);
  return protocol === 'http:' && !isLoopback(hostname);
}
