import { egressHeaderBytesMax, egressHeadersMax } from '../../base/limits.ts';
import { EgressError } from './model.ts';

/** What frames the message, names its target, or would make of the connection something else. */
const ours: readonly string[] = [
  'accept-encoding',
  'connection',
  'content-length',
  'expect',
  'host',
  'keep-alive',
  'proxy-authenticate',
  'proxy-authorization',
  'proxy-connection',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
];

/**
 * The headers that leave: what the caller gives, and that the answer must not be encoded.
 * @throws EgressError header, for a name that is ours or no token (RFC 9110, 5.6.2), and for a value with anything but visible ASCII
 */
export function outgoingHeaders(given: Readonly<Record<string, string>>): Record<string, string> {
  const entries = Object.entries(given);
  let bytes = 0;
  for (const [name, value] of entries) {
    bytes += name.length + value.length;
    if (!/^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/.test(name))
      throw new EgressError('header', 'A header has a name that is none.');
    if (!/^[\t\u0020-\u007e]*$/.test(value)) {
      throw new EgressError(
        'header',
        `The header ${name} has a line break or another character that no header may have.`,
      );
    }
    if (ours.includes(name.toLowerCase()))
      throw new EgressError('header', `The header ${name} is not the caller's to set.`);
  }
  if (entries.length > egressHeadersMax || bytes > egressHeaderBytesMax) {
    throw new EgressError(
      'header',
      `There are more than ${egressHeadersMax} headers, or ${egressHeaderBytesMax} bytes of them.`,
    );
  }
  return { 'user-agent': 'portcullis', ...lowerCased(entries), 'accept-encoding': 'identity' };
}

function lowerCased(entries: readonly (readonly [string, string])[]): Record<string, string> {
  return Object.fromEntries(entries.map(([name, value]) => [name.toLowerCase(), value]));
}
