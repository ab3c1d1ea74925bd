import { isIP } from 'node:net';
import ipaddr from 'ipaddr.js';

/**
 * What an address is, by its bytes. `global`: on the public internet. `private`: of a network of the operator's own, which it may allow:
 * private use, shared (carrier-grade NAT), loopback, link-local, unique local. `metadata`: where clouds hand out credentials.
 * `special`: all else, for which nobody has a use: multicast, reserved, documentation, and forms of IPv6 with an IPv4 address inside.
 */
export type AddressKind = 'global' | 'private' | 'special' | 'metadata';

interface Prefix {
  readonly bytes: Uint8Array;
  readonly bits: number;
}

/**
 * The IANA IPv4 Special-Purpose Address Registry, multicast (224.0.0.0/4) and what is reserved. Of blocks that the registry has divided,
 * the whole block, its globally reachable anycast addresses included: no web server is there.
 */
const special4 = prefixes([
  '0.0.0.0/8',
  '192.0.0.0/24',
  '192.0.2.0/24',
  '192.31.196.0/24',
  '192.52.193.0/24',
  '192.88.99.0/24',
  '192.175.48.0/24',
  '198.18.0.0/15',
  '198.51.100.0/24',
  '203.0.113.0/24',
  '224.0.0.0/4',
  '240.0.0.0/4',
]);
const private4 = prefixes([
  '10.0.0.0/8',
  '100.64.0.0/10',
  '127.0.0.0/8',
  '169.254.0.0/16',
  '172.16.0.0/12',
  '192.168.0.0/16',
]);

/** Of IPv6 only this has been given out as global unicast: what lies outside is special whatever a registry may come to say. */
const global6 = prefixes(['2000::/3']);
/** What is special inside of it: protocol assignments (Teredo, benchmarking, ORCHID), documentation, 6to4, AS112. */
const special6 = prefixes(['2001::/23', '2001:db8::/32', '2002::/16', '2620:4f:8000::/48', '3fff::/20']);
const private6 = prefixes(['::1/128', 'fc00::/7', 'fe80::/10']);

/** Where an IPv4 address lies in an IPv6 one: IPv4-compatible, -mapped, -translated, NAT64 (RFC 6052, 8215), ISATAP aside; 6to4. */
const embedding: readonly { readonly prefix: Prefix; readonly at: number }[] = [
  ...prefixes(['::/96', '::ffff:0:0/96', '::ffff:0:0:0/96', '64:ff9b::/96', '64:ff9b:1::/48']).map((prefix) => ({
    prefix,
    at: 12,
  })),
  ...prefixes(['2002::/16']).map((prefix) => ({ prefix, at: 2 })),
];

/**
 * AWS, Google, Azure, DigitalOcean, OpenStack and others (169.254.169.254), AWS's containers (169.254.170.2, .23), clocks and name
 * servers beside them, Azure's wire server (a public address), Alibaba, Oracle; then the same of AWS and Google in IPv6.
 */
const metadata = prefixes([
  '169.254.169.254/32',
  '169.254.169.253/32',
  '169.254.169.123/32',
  '169.254.170.2/32',
  '169.254.170.23/32',
  '168.63.129.16/32',
  '100.100.100.200/32',
  '192.0.0.192/32',
  'fd00:ec2::/32',
  'fd20:ce::254/128',
  'fe80::a9fe:a9fe/128',
]);

/** Names of metadata services, in lower case and without a dot at the end. */
const metadataNames: readonly string[] = [
  'metadata',
  'metadata.google.internal',
  'metadata.goog',
  'metadata.internal',
  'metadata.azure.com',
  'metadata.azure.internal',
  'instance-data',
  'instance-data.ec2.internal',
  'metadata.tencentyun.com',
  'metadata.platformequinix.com',
];

/** The bytes of an address literal (4 or 16), without brackets; null for what is no address, and for one with a zone. */
export function bytesOf(address: string): Uint8Array | null {
  if (isIP(address) === 0 || address.includes('%')) return null;
  return Uint8Array.from(ipaddr.parse(address).toByteArray());
}

/** What an address is; what cannot be read is special. */
export function kindOf(address: string): AddressKind {
  const bytes = bytesOf(address);
  if (bytes === null) return 'special';
  return bytes.length === 4 ? kindOf4(bytes) : kindOf6(bytes);
}

/** Whether a name is that of a metadata service. */
export function isMetadataName(hostname: string): boolean {
  return metadataNames.includes(hostname);
}

/** Whether a name means this machine without being asked for (RFC 6761, 6.3). */
export function isLocalhost(hostname: string): boolean {
  return hostname === 'localhost' || hostname.endsWith('.localhost') || hostname === 'localhost.localdomain';
}

function kindOf4(bytes: Uint8Array): AddressKind {
  if (within(bytes, metadata)) return 'metadata';
  if (within(bytes, special4)) return 'special';
  return within(bytes, private4) ? 'private' : 'global';
}

function kindOf6(bytes: Uint8Array): AddressKind {
  if (within(bytes, metadata)) return 'metadata';
  if (within(bytes, private6)) return 'private';
  const inside = embedding.find(({ prefix }) => within(bytes, [prefix]));
  if (inside !== undefined) {
    return kindOf4(bytes.subarray(inside.at, inside.at + 4)) === 'metadata' ? 'metadata' : 'special';
  }
  return within(bytes, global6) && !within(bytes, special6) ? 'global' : 'special';
}

function within(bytes: Uint8Array, list: readonly Prefix[]): boolean {
  return list.some((prefix) => prefix.bytes.length === bytes.length && startsWith(bytes, prefix));
}

function startsWith(bytes: Uint8Array, { bytes: start, bits }: Prefix): boolean {
  const whole = bits >> 3;
  for (let at = 0; at < whole; at++) if (bytes[at] !== start[at]) return false;
  const rest = bits & 7;
  return rest === 0 || ((bytes[whole] ?? 0) ^ (start[whole] ?? 0)) >> (8 - rest) === 0;
}

function prefixes(texts: readonly string[]): Prefix[] {
  return texts.map((text) => {
    const [address = '', bits = ''] = text.split('/');
    return { bytes: Uint8Array.from(ipaddr.parse(address).toByteArray()), bits: Number(bits) };
  });
}
