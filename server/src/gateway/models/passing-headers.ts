import type { IncomingHttpHeaders } from 'node:http';

// The open lists of both dialects: what clients send for the provider's eyes. All else stays here, above all
// credentials, cookies, forwarding headers and our own.
const requestPrefixes = ['anthropic-', 'openai-', 'x-stainless-', 'x-claude-'];
const requestNames = new Set(['user-agent', 'accept', 'x-app']);

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

const hopByHop = new Set([
  'connection',
  'keep-alive',
  'proxy-authenticate',
  'proxy-authorization',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
]);
// The body is framed anew here; cookies and policies of the provider's site are not the gate's; the request id is ours.
const notOurs = new Set([
  'content-length',
  'set-cookie',
  'strict-transport-security',
  'alt-svc',
  'server',
  'x-request-id',
  'content-security-policy',
  'access-control-allow-origin',
]);

/** The provider's headers that go to the client. */
export function responseHeaders(
  headers: Readonly<Record<string, string | string[] | undefined>>,
): Record<string, string | string[]> {
  const passing: Record<string, string | string[]> = {};
  for (const name in headers) {
    const value = headers[name];
    if (value !== undefined && !hopByHop.has(name) && !notOurs.has(name)) passing[name] = value;
  }
  return passing;
}
