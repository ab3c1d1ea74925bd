import { isPrivateHost } from '../net/egress.ts';

/** Off the public internet: a private address, or a bare name as containers and home networks have. */
export function isLocal({ hostname }: URL): boolean {
  return isPrivateHost(hostname) || (!hostname.includes('.') && !hostname.includes(':'));
}

/** `https://api.deepseek.com/v1` is `deepseek`; an address is `local`. */
export function nameFor({ hostname }: URL): string {
  if (isPrivateHost(hostname)) return 'local';
  const labels = hostname.split('.').filter((label) => label !== 'api' && label !== 'www');
  return labels[0] ?? 'provider';
}
