import { lookup } from 'node:dns';
import type { LookupFunction } from 'node:net';
import ipaddr from 'ipaddr.js';

/**
 * Whether `host` is an address literal, or a name, that is not on the public internet: loopback, private, link-local,
 * carrier-grade NAT, multicast, documentation ranges, and IPv6 forms that embed one of them.
 */
export function isPrivateHost(host: string): boolean {
  const bare = host.replace(/^\[|\]$/g, '');
  if (bare === 'localhost' || bare.endsWith('.localhost')) return true;
  return ipaddr.isValid(bare) && isPrivateAddress(bare);
}

function isPrivateAddress(address: string): boolean {
  const parsed = ipaddr.process(address);
  return parsed.range() !== 'unicast';
}

/**
 * A DNS lookup that answers with public addresses only. It runs at connect time, so a name that changes its mind
 * between a check and the connection (DNS rebinding) gains nothing.
 */
export const guardedLookup: LookupFunction = (hostname, options, callback) => {
  lookup(hostname, { ...options, all: true }, (error, addresses) => {
    if (error) return callback(error, '', 0);
    const open = addresses.filter(({ address }) => !isPrivateAddress(address));
    const first = open[0];
    if (first === undefined) {
      return callback(
        Object.assign(new Error(`${hostname} resolves to no public address`), { code: 'ERR_EGRESS_DENIED' }),
        '',
        0,
      );
    }
    return options.all ? callback(null, open) : callback(null, first.address, first.family);
  });
};
