import { lookup, Resolver } from 'node:dns/promises';
import type { LookupFunction } from 'node:net';
import { egressDnsMs } from '../../base/limits.ts';
import { EgressError } from './model.ts';
import { mayReach, type Reach, type Target } from './target.ts';
import { kindOf } from './addresses.ts';

/** No such records of this type; the other type may have some. */
const empty: readonly string[] = ['ENODATA', 'ENOTFOUND'];

/**
 * All addresses of a name, each fit for the target. Names that others wrote are asked of the name servers, never of the system's
 * resolver, whose few threads a slow server of theirs would take; names of the operator may also stand in /etc/hosts.
 * @throws EgressError unresolved, mixed_answer or private_answer
 */
export async function vettedAddresses(
  { host, reach }: Pick<Target, 'host' | 'reach'>,
  nameServers?: readonly string[],
): Promise<string[]> {
  const addresses = await allAddresses(host, reach === 'global' || nameServers !== undefined, nameServers);
  vet(host, addresses, reach);
  return addresses;
}

/** @throws EgressError where one address is not fit: an answer is taken as a whole, or not at all */
export function vet(host: string, addresses: readonly string[], reach: Reach): void {
  const unfit = addresses.filter((address) => !mayReach(reach, address));
  if (addresses.length === 0) throw new EgressError('unresolved', `${host} has no address.`);
  if (unfit.length === 0) return;
  const internal = `${host} resolves to ${addresses.slice(0, 8).join(', ')}`;
  if (unfit.some((address) => kindOf(address) === 'metadata')) {
    throw new EgressError('private_answer', `${host} resolves to a metadata service.`, { internal });
  }
  throw unfit.length === addresses.length
    ? new EgressError('private_answer', `${host} resolves to no public address.`, { internal })
    : new EgressError('mixed_answer', `${host} resolves to public and to other addresses.`, { internal });
}

/** A lookup for a connection: its answer is vetted, and what is connected to is that answer, so that a name that changes its mind gains nothing. */
export function vettingLookup(target: Target, nameServers?: readonly string[]): LookupFunction {
  return (_hostname, options, callback) => void tell(callback, options.all === true, target, nameServers);
}

async function tell(
  callback: Parameters<LookupFunction>[2],
  wantsAll: boolean,
  target: Target,
  nameServers?: readonly string[],
): Promise<void> {
  let all: { readonly address: string; readonly family: number }[];
  try {
    const addresses = await vettedAddresses(target, nameServers);
    all = addresses.map((address) => ({ address, family: address.includes(':') ? 6 : 4 }));
  } catch (error) {
    return callback(error as NodeJS.ErrnoException, '', 0);
  }
  const first = all[0];
  if (wantsAll || first === undefined) callback(null, all);
  else callback(null, first.address, first.family);
}

async function allAddresses(host: string, byServers: boolean, nameServers?: readonly string[]): Promise<string[]> {
  try {
    return byServers
      ? await asked(host, nameServers)
      : (await lookup(host, { all: true })).map(({ address }) => address);
  } catch (cause) {
    const internal = cause instanceof Error ? cause.message : String(cause);
    throw new EgressError('unresolved', `${host} could not be resolved.`, { internal, cause });
  }
}

/** A and AAAA records, each asked for once. A failure of either fails both: half an answer cannot be vetted. */
async function asked(host: string, nameServers?: readonly string[]): Promise<string[]> {
  const resolver = new Resolver({ timeout: egressDnsMs, tries: 2, maxTimeout: egressDnsMs });
  if (nameServers !== undefined) resolver.setServers(nameServers);
  const none = (error: NodeJS.ErrnoException): string[] => {
    if (empty.includes(error.code ?? '')) return [];
    throw error;
  };
  const [v4, v6] = await Promise.all([resolver.resolve4(host).catch(none), resolver.resolve6(host).catch(none)]);
  return [...v4, ...v6];
}
