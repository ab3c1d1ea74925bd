import { lookup } from 'node:dns';
import { isIP, type LookupFunction } from 'node:net';
import { isLocalhost, kindOf } from './addresses.ts';
import { vet } from './resolve.ts';

/**
 * Whether `host` (a name or an address, in brackets or not) says by itself that it is not on the public internet. For URLs that the
 * operator wrote: what others wrote goes through egress.ts.
 */
export function isPrivateHost(host: string): boolean {
  const bare = host.replace(/^\[|\]$/g, '');
  if (isLocalhost(bare)) return true;
  return isIP(bare) !== 0 && kindOf(bare) !== 'global';
}

/**
 * A DNS lookup, by the system, that answers with public addresses only, for connections that others than egress keep: those to
 * providers. It runs at connect time, so a name that changes its mind between a check and the connection (DNS rebinding) gains nothing.
 * Its error has the code ERR_EGRESS_DENIED, and no message for callers.
 */
export const guardedLookup: LookupFunction = (hostname, options, callback) => {
  lookup(hostname, { ...options, all: true }, (error, addresses) => {
    if (error) return callback(error, '', 0);
    try {
      vet(
        hostname,
        addresses.map(({ address }) => address),
        'global',
      );
    } catch (cause) {
      const denied = new Error(`${hostname} resolves to other than public addresses`, { cause });
      return callback(Object.assign(denied, { code: 'ERR_EGRESS_DENIED' }), '', 0);
    }
    const first = addresses[0];
    return options.all === true || first === undefined
      ? callback(null, addresses)
      : callback(null, first.address, first.family);
  });
};
