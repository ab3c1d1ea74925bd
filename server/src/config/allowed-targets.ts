/** A host and port to which requests may go although they are private. */
export interface AllowedTarget {
  /** As URL.hostname spells it, without a dot at the end. */
  readonly host: string;
  readonly port: number;
}

/**
 * Reads `host:port`, for example `10.0.0.5:9000`, `hooks.internal:443` or `[fd00::1]:8080`.
 * @returns null for anything else
 */
export function parseAllowedTarget(text: string): AllowedTarget | null {
  const match = /^(\[[0-9a-fA-F:.]+\]|[^\s/?#@\\:[\]*]+):(\d{1,5})$/.exec(text);
  const port = Number(match?.[2]);
  const url = match && port >= 1 && port <= 65_535 ? URL.parse(`http://${match[1]}/`) : null;
  return url === null ? null : { host: url.hostname.replace(/\.$/, ''), port };
}
