import { PortcullisError } from '../base/errors.ts';

/** By what names we are called, and which browser origins may call. */
export interface HostRules {
  readonly publicUrl: string | null;
  readonly allowedHosts: readonly string[];
  readonly allowedOrigins: readonly string[];
}

const loopbackNames = new Set(['localhost', '127.0.0.1', '[::1]']);

/**
 * A check of Host and Origin. DNS rebinding makes a victim's browser call us under the attacker's name, so an unknown
 * name is refused (421) before anything else happens; so is a foreign Origin (403).
 * @param scheme by which browsers reach the listener itself
 */
export function createHostCheck(
  rules: HostRules,
  scheme: 'http' | 'https',
): (host: string | undefined, origin: string | undefined) => void {
  const hosts = new Set(rules.allowedHosts.map((host) => host.toLowerCase()));
  const origins = new Set(rules.allowedOrigins.map((origin) => origin.toLowerCase()));
  if (rules.publicUrl !== null) {
    const url = new URL(rules.publicUrl);
    hosts.add(url.host).add(url.hostname);
    origins.add(url.origin);
  }
  return (host, origin) => {
    const name = host?.toLowerCase() ?? '';
    const bare = name.replace(/:\d+$/, '');
    if (!loopbackNames.has(bare) && !hosts.has(name) && !hosts.has(bare)) {
      throw new PortcullisError(
        'misdirected',
        'The Host header is not a name of this server: use its PUBLIC_URL, or add the name to ALLOWED_HOSTS.',
      );
    }
    const from = origin?.toLowerCase();
    if (from !== undefined && !origins.has(from) && from !== `${scheme}://${name}`) {
      throw new PortcullisError(
        'origin_denied',
        'This browser origin may not call the server: add it to ALLOWED_ORIGINS.',
      );
    }
  };
}
