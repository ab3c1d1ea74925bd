import ipaddr from 'ipaddr.js';
import { PortcullisError } from '../base/errors.ts';

type Address = ipaddr.IPv4 | ipaddr.IPv6;

/** An address range: the network and the length of its prefix in bits. */
export type AddressRange = readonly [Address, number];

/** What stands for the address of a peer that has none, such as a Unix socket. No range contains it. */
export const unknownAddress = 'unknown';

/**
 * Reads an address range: `10.0.0.0/8`, `2001:db8::/32`, or one address. IPv4 ranges written in IPv6 (`::ffff:0:0/96`
 * and below) become IPv4, since addresses are compared in that form.
 * @throws PortcullisError invalid_argument
 */
export function parseAddressRange(text: string): AddressRange {
  const [, network = '', bits] = /^([^/]+)(?:\/(\d{1,3}))?$/.exec(text) ?? [];
  const address = parseAddress(network);
  const width = address?.kind() === 'ipv4' ? 32 : 128;
  const mapped = width === 32 && network.includes(':');
  const length = bits === undefined ? width : Number(bits) - (mapped ? 96 : 0);
  if (!address || length < 0 || length > width) {
    throw new PortcullisError(
      'invalid_argument',
      `"${text}" is not an address range: write it like 10.0.0.0/8 or 2001:db8::/32.`,
    );
  }
  return [address, length];
}

/** Whether `address`, as {@link clientAddress} returns it, lies in one of `ranges`. */
export function isInRanges(address: string, ranges: readonly AddressRange[]): boolean {
  const parsed = parseAddress(address);
  if (!parsed) return false;
  return ranges.some(([network, bits]) => parsed.kind() === network.kind() && parsed.match(network, bits));
}

/** Whether every address of `inner` lies in `outer`: each range in one of them. @throws PortcullisError invalid_argument */
export function areWithin(inner: readonly string[], outer: readonly string[]): boolean {
  const ranges = outer.map(parseAddressRange);
  return inner
    .map(parseAddressRange)
    .every(([address, bits]) =>
      ranges.some(
        ([network, length]) => length <= bits && address.kind() === network.kind() && address.match(network, length),
      ),
    );
}

/**
 * The client's address: the peer of the socket, unless that is a trusted proxy; then the right-most hop of
 * `X-Forwarded-For` that is not one. What stands further left was written by the client and is never believed, nor is
 * anything left of a hop that is no address. IPv4-mapped IPv6 becomes IPv4.
 */
export function clientAddress(
  socketAddress: string | undefined,
  forwardedFor: string | readonly string[] | undefined,
  trustedProxies: readonly AddressRange[],
): string {
  let client = parseAddress(socketAddress ?? '')?.toString() ?? unknownAddress;
  if (forwardedFor === undefined || trustedProxies.length === 0) return client;
  const hops = (typeof forwardedFor === 'string' ? forwardedFor : forwardedFor.join(',')).split(',');
  while (isInRanges(client, trustedProxies)) {
    const hop = parseAddress(withoutPort(hops.pop()?.trim() ?? ''));
    if (!hop) break;
    client = hop.toString();
  }
  return client;
}

/**
 * Reads client addresses behind these proxies.
 * @param proxies address ranges
 * @throws PortcullisError invalid_argument
 */
export function createAddressReader(
  proxies: readonly string[],
): (socketAddress: string | undefined, forwardedFor: string | undefined) => string {
  const ranges = proxies.map(parseAddressRange);
  return (socketAddress, forwardedFor) => clientAddress(socketAddress, forwardedFor, ranges);
}

/** What failures and limits are counted by: an IPv4 address itself, of an IPv6 one the /64, which is what one host is given. */
export function addressPrefix(address: string): string {
  return networkOf(address, 8);
}

/** The same, but of an IPv6 address the /48, which is what one customer is given (RFC 6177). */
export function addressSite(address: string): string {
  return networkOf(address, 6);
}

function networkOf(address: string, bytesKept: number): string {
  const parsed = parseAddress(address);
  if (parsed?.kind() !== 'ipv6') return parsed?.toString() ?? unknownAddress;
  const bytes = parsed.toByteArray().fill(0, bytesKept);
  return `${ipaddr.fromByteArray(bytes).toString()}/${bytesKept * 8}`;
}

function parseAddress(text: string): Address | null {
  // ipaddr.js also reads "127.1", "0x7f.1" and "2130706433" as IPv4, which other parts of a system may read otherwise.
  if (!text.includes(':')) return ipaddr.IPv4.isValidFourPartDecimal(text) ? ipaddr.IPv4.parse(text) : null;
  if (!ipaddr.IPv6.isValid(text)) return null;
  const address = ipaddr.IPv6.parse(text);
  // The zone names an interface of this host; it is no part of the peer's identity.
  delete address.zoneId;
  return address.isIPv4MappedAddress() ? address.toIPv4Address() : address;
}

// Some proxies append the port: 192.0.2.1:4711, [2001:db8::1]:4711.
function withoutPort(hop: string): string {
  return /^\[([^\]]*)\](?::\d+)?$/.exec(hop)?.[1] ?? /^([\d.]+):\d+$/.exec(hop)?.[1] ?? hop;
}
