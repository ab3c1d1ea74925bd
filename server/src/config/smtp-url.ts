/** A mail server, as SMTP_URL names it. */
export interface MailServer {
  readonly host: string;
  readonly port: number;
  /** `implicit`: TLS from the first byte. `required`: STARTTLS, or nothing is sent. `off`: in the clear. */
  readonly tls: 'implicit' | 'required' | 'off';
  readonly user: string | null;
  readonly password: string | null;
}

/**
 * Reads `smtp://user:password@host:587` or `smtps://host:465`; `?tls=off` sends in the clear.
 * @returns null for anything else
 */
export function parseSmtpUrl(text: string): MailServer | null {
  // As https, since the parser leaves hosts of schemes that it does not know as they are.
  const scheme = /^(smtps?):\/\/(?=[^/])/.exec(text)?.[1];
  const url = scheme === undefined ? null : URL.parse(text.replace(/^smtps?/, 'https'));
  if (url === null || url.pathname !== '/' || url.hash !== '') return null;
  const off = url.search === '?tls=off';
  if ((url.search !== '' && !off) || (off && scheme === 'smtps')) return null;
  const user = decoded(url.username);
  const password = decoded(url.password);
  if (user === null || password === null || (user === '' && password !== '')) return null;
  // The parser drops 443, which is the port of https.
  const port = /:443(?:[/?]|$)/.test(text) ? 443 : Number(url.port || (scheme === 'smtps' ? 465 : 587));
  return {
    host: url.hostname.replace(/^\[|\]$/g, ''),
    port,
    tls: scheme === 'smtps' ? 'implicit' : off ? 'off' : 'required',
    user: user === '' ? null : user,
    password: user === '' ? null : password,
  };
}

function decoded(text: string): string | null {
  try {
    return decodeURIComponent(text);
  } catch {
    return null;
  }
}
