import {
  clockSkewS,
  nonceCharsMax,
  nonceCharsMin,
  signatureComponentsMax,
  signatureLifetimeS,
} from '../../base/limits.ts';
import type { GivenSignature, SignatureReason, SignedRequest } from './model.ts';

/** The combined value of each field of a request by its lower-case name (RFC 9421, section 2.1). */
export type Fields = ReadonlyMap<string, string>;

export function combineFields(rawHeaders: readonly string[]): Fields {
  const fields = new Map<string, string>();
  for (let i = 0; i + 1 < rawHeaders.length; i += 2) {
    const name = rawHeaders[i]?.toLowerCase() ?? '';
    const value = withoutBlanks(rawHeaders[i + 1] ?? '');
    const before = fields.get(name);
    fields.set(name, before === undefined ? value : `${before}, ${value}`);
  }
  return fields;
}

/** Without the blanks around it (RFC 9110, 5.5); by hand, since a pattern would look at each run of blanks again and again. */
function withoutBlanks(value: string): string {
  const isBlank = (at: number) => value[at] === ' ' || value[at] === '\t';
  let [start, end] = [0, value.length];
  while (start < end && isBlank(start)) start++;
  while (end > start && isBlank(end - 1)) end--;
  return value.slice(start, end);
}

/**
 * Each must be covered where the request has it: what a door reads and what changes what is done, at this gate or at a
 * provider. Not deadlines, whose change does no more than a cut connection, and not what proxies write.
 */
export const fieldsToCover = [
  'content-digest',
  'content-encoding',
  'content-type',
  'grpc-encoding',
  'idempotency-key',
  'x-portcullis-run',
  'portcullis-cache',
  // What rules of a policy can read of a call.
  'x-claude-code-session-id',
  'anthropic-version',
  'anthropic-beta',
  'openai-beta',
  // Whichever of these carried the credential, the others may be one for somebody else.
  'authorization',
  'x-api-key',
  'x-portcullis-key',
  // Who is billed at a provider that is called with the caller's own credential.
  'chatgpt-account-id',
  'openai-organization',
  'openai-project',
];
const derivedToCover = ['@method', '@authority', '@path', '@query'];
const fieldName = /^[a-z0-9!#$%&'*+.^_`|~-]+$/;

/**
 * Whether a signature covers what it must and nothing that is not there: each component once, no derived component but
 * those four, and a digest of the body unless there is none for sure.
 */
export function coversRequest(components: readonly string[], method: string, fields: Fields): boolean {
  const covered = new Set(components);
  if (covered.size !== components.length || covered.size > signatureComponentsMax) return false;
  const known = (name: string) => derivedToCover.includes(name) || (fieldName.test(name) && fields.has(name));
  return (
    components.every(known) &&
    derivedToCover.every((name) => covered.has(name)) &&
    fieldsToCover.every((name) => covered.has(name) || !fields.has(name)) &&
    (covered.has('content-digest') || method === 'GET' || method === 'HEAD' || fields.get('content-length') === '0')
  );
}

/** Why a signature does not hold at this time; null when it does. @param nowMs epoch milliseconds */
export function whyUntimely({ created, expires }: GivenSignature, nowMs: number): SignatureReason | null {
  const now = nowMs / 1000;
  if (expires <= created || expires > created + signatureLifetimeS) return 'signature_window';
  if (created > now + clockSkewS) return 'signature_future';
  if (created < now - signatureLifetimeS - clockSkewS) return 'signature_stale';
  return expires < now - clockSkewS ? 'signature_expired' : null;
}

/** Epoch milliseconds from which a signature is refused as expired, whatever becomes of its nonce. */
export function heldUntilMs({ expires }: GivenSignature): number {
  return (expires + clockSkewS) * 1000;
}

const noncePattern = new RegExp(`^[A-Za-z0-9_-]{${nonceCharsMin},${nonceCharsMax}}$`);

/** Whether a nonce has the form of 128 bits or more; that they are random is the signer's to see to. */
export function isNonce(text: string): boolean {
  return noncePattern.test(text);
}

/**
 * The text that is signed (RFC 9421, section 2.5), to be read as Latin-1: bytes as they were sent.
 * @returns null where a component has no value, or one that breaks the line
 */
export function signatureBase(
  { components, params }: Pick<GivenSignature, 'components' | 'params'>,
  request: Pick<SignedRequest, 'method' | 'url' | 'authority'>,
  fields: Fields,
): string | null {
  const lines: string[] = [];
  for (const name of components) {
    const value = name.startsWith('@') ? derived(name, request) : fields.get(name);
    if (value === undefined || /[\r\n]/.test(value)) return null;
    lines.push(`"${name}": ${value}`);
  }
  return [...lines, `"@signature-params": ${params}`].join('\n');
}

/** RFC 9421, section 2.2. Path and query are taken as they were sent: nobody on the way may spell them anew. */
function derived(name: string, { method, url, authority }: Pick<SignedRequest, 'method' | 'url' | 'authority'>) {
  if (!url.startsWith('/')) return undefined;
  const query = url.indexOf('?');
  switch (name) {
    case '@method':
      return method;
    case '@authority':
      // Whether TLS ended before us is not known here, so either scheme's own port counts as none.
      return authority.toLowerCase().replace(/:(?:80|443)$/, '');
    case '@path':
      return query < 0 ? url : url.slice(0, query);
    case '@query':
      return query < 0 ? '?' : url.slice(query);
    default:
      return undefined;
  }
}
