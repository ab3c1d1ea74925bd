import type { IncomingHttpHeaders } from 'node:http';
import type { Prepared } from './prepare.ts';
import type { UpstreamHeaders } from './provider.ts';

// The lists of both dialects: what clients send for the provider's eyes. All else stays here, above all credentials,
// cookies, forwarding headers, our own, and what selects the organization or project that is billed.
const requestPrefixes = ['x-stainless-', 'x-claude-'];
const requestNames = new Set([
  'user-agent',
  'accept',
  'x-app',
  'anthropic-version',
  'anthropic-beta',
  'anthropic-dangerous-direct-browser-access',
  'openai-beta',
]);

/** The client's headers that go to the provider. */
export function requestHeaders(headers: IncomingHttpHeaders): Record<string, string> {
  const passing: Record<string, string> = {};
  for (const name in headers) {
    const value = headers[name];
    if (typeof value !== 'string') continue;
    if (requestNames.has(name) || requestPrefixes.some((prefix) => name.startsWith(prefix))) passing[name] = value;
  }
  return passing;
}

const hopByHop = [
  'connection',
  'keep-alive',
  'proxy-authenticate',
  'proxy-authorization',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
];
// The body is framed anew here; cookies, policies and addresses of the provider's site are not the gate's, nor is its
// account there the caller's; the request id, the rate and what was done with the call are told by this gate.
const notOurs = [
  'content-length',
  'set-cookie',
  'strict-transport-security',
  'alt-svc',
  'server',
  'location',
  'www-authenticate',
  'x-request-id',
  'request-id',
  'anthropic-organization-id',
  'openai-organization',
  'openai-project',
  'content-security-policy',
  'access-control-allow-origin',
  'clear-site-data',
  'ratelimit',
  'ratelimit-policy',
  'idempotent-replayed',
  'idempotency-replayed',
];
const ownPrefix = 'portcullis-';
const staying = new Set([...hopByHop, ...notOurs]);

/** The provider's headers that go to the client with a same-dialect answer. */
export function responseHeaders(headers: UpstreamHeaders): Record<string, string | string[]> {
  const passing: Record<string, string | string[]> = {};
  for (const name in headers) {
    const value = headers[name];
    if (value !== undefined && !staying.has(name) && !name.startsWith(ownPrefix)) passing[name] = value;
  }
  return passing;
}

/** What a translated refusal keeps of the provider's headers: when to try again, and whether. */
export function retryHeaders(headers: UpstreamHeaders): Record<string, string> {
  const passing: Record<string, string> = {};
  for (const name of ['retry-after', 'retry-after-ms', 'x-should-retry']) {
    const value = headers[name];
    if (typeof value === 'string') passing[name] = value;
  }
  return passing;
}

/** Tells what of a call did not reach the other side: what translations dropped, what was trimmed, and a lowered limit. */
export function changeHeaders(
  { translation, trimmed, clamp }: Pick<Prepared, 'translation' | 'trimmed' | 'clamp'>,
  droppedFromAnswer: readonly string[] = [],
): Record<string, string> {
  return {
    ...droppedHeader([...(translation?.dropped ?? []), ...droppedFromAnswer]),
    ...(trimmed && { 'portcullis-trimmed': `turns=${trimmed.turns}; tokens=${trimmed.tokens}` }),
    ...(clamp && { 'portcullis-max-tokens': `${clamp.maxTokens}; budget=${fieldString(clamp.budget)}` }),
  };
}

/** The same in a stream, whose head may have gone out before. Every reader of event streams passes comments over (WHATWG HTML). */
export function changeComments({ trimmed, clamp }: Pick<Prepared, 'trimmed' | 'clamp'>): Buffer[] {
  return [
    ...(trimmed ? [`: portcullis trimmed turns=${trimmed.turns} tokens=${trimmed.tokens}\n\n`] : []),
    ...(clamp ? [`: portcullis max-tokens=${clamp.maxTokens} budget=${fieldString(clamp.budget)}\n\n`] : []),
  ].map((comment) => Buffer.from(comment));
}

/** Text in a structured field: a String, or a Display String where it has more than ASCII (RFC 9651, 3.3.3 and 3.3.8). */
function fieldString(text: string): string {
  if (/^[ -~]*$/.test(text)) return `"${text.replaceAll(/["\\]/g, String.raw`\$&`)}"`;
  const bytes = [...Buffer.from(text)].map((byte) => {
    const char = String.fromCharCode(byte);
    return /[ !#$&-~]/.test(char) ? char : `%${byte.toString(16).padStart(2, '0')}`;
  });
  return `%"${bytes.join('')}"`;
}

/** Names what a translation dropped; nothing is dropped silently. */
export function droppedHeader(dropped: readonly string[]): Record<string, string> {
  return dropped.length > 0 ? { 'portcullis-dropped': dropped.join(', ') } : {};
}
