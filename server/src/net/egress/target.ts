import { isIP } from 'node:net';
import { egressUrlCharsMax } from '../../base/limits.ts';
import { isLocalhost, isMetadataName, kindOf } from './addresses.ts';
import { type AllowedTarget, EgressError } from './model.ts';

/** What may be at a target's addresses: public ones alone, private ones too, or all that is no metadata service. */
export type Reach = 'global' | 'private' | 'operator' | 'any';

/** A URL that may be asked for, as far as the URL tells. */
export interface Target {
  readonly url: URL;
  /** A name in lower case without a dot at the end, or an address without brackets. */
  readonly host: string;
  readonly literal: boolean;
  readonly reach: Reach;
}

/** Ports that need no entry in the list of allowed targets. */
const openPorts: readonly number[] = [443, 8443];

export interface TargetRules {
  readonly allowPrivate: readonly AllowedTarget[];
  readonly writtenBy: 'operator' | 'others';
}

/**
 * Judges a URL by what it says (WHATWG), pure.
 * @throws EgressError with what is wrong
 */
export function judgeTarget(text: string, rules: TargetRules): Target {
  const url = parse(text);
  const { host, literal } = hostOf(url);
  const port = Number(url.port || (url.protocol === 'https:' ? 443 : 80));
  const listed = rules.allowPrivate.some((entry) => entry.host === url.hostname && entry.port === port);
  const reach = reachOf(rules, listed, literal || isMetadataName(host));
  if (reach === 'global') refuseScheme(url, port);
  refuseHost(host, literal, reach);
  return { url, host, literal, reach };
}

/** Whether a target may be at an address of this kind. */
export function mayReach(reach: Reach, address: string): boolean {
  const kind = kindOf(address);
  if (kind === 'global' || reach === 'any') return true;
  return kind === 'private' ? reach !== 'global' : kind === 'special' && reach === 'operator';
}

function parse(text: string): URL {
  // The parser takes these away in silence, and two parsers that disagree about a URL are how guards are passed.
  // oxlint-disable-next-line no-control-regex
  if (/[\u0000-\u0020\u007f\\]/.test(text)) {
    throw new EgressError('invalid_url', 'The URL has a space, a control character or a backslash in it.');
  }
  if (text.length > egressUrlCharsMax) {
    throw new EgressError('invalid_url', `The URL is longer than ${egressUrlCharsMax} characters.`);
  }
  const url = URL.parse(text);
  if (url === null) throw new EgressError('invalid_url', 'This is not a URL: write one like https://example.com/hook.');
  if (url.protocol !== 'https:' && url.protocol !== 'http:') {
    throw new EgressError('scheme', 'The URL must begin with https://.');
  }
  // The parser finds a host in https:example.com, too, and in https:///example.com.
  if (!/^https?:\/\/[^/]/i.test(text))
    throw new EgressError('invalid_url', 'The URL needs two slashes and then its host.');
  if (url.username !== '' || url.password !== '' || /^[^/]*\/\/[^/?#]*@/.test(text)) {
    throw new EgressError('userinfo', 'The URL has a user name or password in it: leave them out.');
  }
  url.hash = '';
  if (url.hostname.endsWith('.')) url.hostname = url.hostname.slice(0, -1);
  return url;
}

function hostOf({ hostname }: URL): { host: string; literal: boolean } {
  if (hostname.startsWith('[')) return { host: hostname.slice(1, -1), literal: true };
  if (isIP(hostname) === 4) return { host: hostname, literal: true };
  const labels = hostname.split('.');
  // RFC 1035: 63 bytes a label; an underscore is in names that exist.
  if (hostname.length > 253 || !labels.every((label) => /^(?!-)[a-z0-9_-]{1,63}(?<!-)$/.test(label))) {
    throw new EgressError('invalid_url', 'The host of the URL is not a name that DNS has.');
  }
  return { host: hostname, literal: false };
}

function reachOf({ writtenBy }: TargetRules, listed: boolean, exact: boolean): Reach {
  if (listed) return exact ? 'any' : 'private';
  return writtenBy === 'operator' ? 'operator' : 'global';
}

function refuseScheme({ protocol }: URL, port: number): void {
  if (protocol !== 'https:') throw new EgressError('scheme', 'The URL must begin with https://.');
  if (!openPorts.includes(port)) {
    throw new EgressError('port', `The URL has port ${port}; it may be ${openPorts.join(' or ')}.`);
  }
}

function refuseHost(host: string, literal: boolean, reach: Reach): void {
  const metadata = literal ? kindOf(host) === 'metadata' : isMetadataName(host);
  if (metadata && reach !== 'any') {
    throw new EgressError('metadata_address', 'The URL is that of a metadata service.');
  }
  const closed = literal ? !mayReach(reach, host) : reach === 'global' && isLocalhost(host);
  if (!closed) return;
  throw new EgressError(
    'private_address',
    'The URL has an address that is not on the public internet. The operator may allow it: EGRESS_ALLOW_PRIVATE=host:port.',
  );
}
