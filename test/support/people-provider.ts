import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { Provider } from 'oidc-provider';

/** Somebody whom the identity provider knows; what is undefined it does not tell. */
export interface Account {
  readonly sub: string;
  readonly email?: string | undefined;
  readonly email_verified?: boolean | undefined;
  readonly name?: string;
  readonly groups?: readonly string[];
}

type ClientAuth = 'client_secret_basic' | 'client_secret_post' | 'none';

const clientId = 'portcullis';
export const clientSecret = 'secret-of-the-client-0123456789abcdef';

/**
 * A certified OpenID provider on `localhost`, which is another site than the gate on 127.0.0.1. Whoever comes is taken for
 * {@link here} and asked nothing.
 */
export class PeopleProvider {
  readonly issuer: string;
  /** Who sits at the browser that comes next. */
  here: Account = { sub: 'nobody' };
  readonly #server: Server;
  readonly #accounts = new Map<string, Account>();
  #away = false;

  private constructor(server: Server) {
    this.#server = server;
    this.issuer = `http://localhost:${(server.address() as AddressInfo).port}`;
  }

  /** Listens; `register` makes it answer. */
  static async start(): Promise<PeopleProvider> {
    const server = createServer();
    server.listen(0, 'localhost');
    await once(server, 'listening');
    return new PeopleProvider(server);
  }

  /** The section of the gate's configuration. */
  section(more = '', auth: ClientAuth = 'client_secret_basic'): string {
    const secret = `client_secret: ${clientSecret}\n  client_auth: ${auth === 'client_secret_post' ? 'post' : 'basic'}`;
    return `sign_in:
  name: Test SSO
  issuer: ${this.issuer}
  client_id: ${clientId}
  ${auth === 'none' ? '' : secret}
  scopes: [openid, email, profile, groups]
  roles:
    admins: [admin]
    engineers: [developer]
    "<b>bold</b>": [auditor]
  teams: { engineers: Engineering, "<b>bold</b>": "<img src=x onerror=alert(1)>" }
${more}`;
  }

  /** Where the provider answers for these gates. */
  register(gateUrls: readonly string[], auth: ClientAuth = 'client_secret_basic'): void {
    const provider = new Provider(this.issuer, {
      clients: [
        {
          client_id: clientId,
          ...(auth === 'none' ? {} : { client_secret: clientSecret }),
          redirect_uris: gateUrls.map((url) => `${url}/sign-in/callback`),
          token_endpoint_auth_method: auth,
        },
      ],
      claims: { openid: ['sub'], email: ['email', 'email_verified'], profile: ['name'], groups: ['groups'] },
      scopes: ['openid', 'email', 'profile', 'groups'],
      pkce: { required: () => true },
      cookies: { keys: ['a test'] },
      features: { devInteractions: { enabled: false } },
      interactions: { url: (_context, { uid }) => `/interaction/${uid}` },
      findAccount: (_context, accountId) => ({
        accountId,
        claims: () => ({ ...(this.#accounts.get(accountId) ?? { sub: accountId }) }),
      }),
      loadExistingGrant: async ({ oidc }) => {
        const grant = new oidc.provider.Grant({
          clientId: oidc.client?.clientId ?? '',
          accountId: oidc.session?.accountId ?? '',
        });
        grant.addOIDCScope('openid email profile groups');
        await grant.save();
        return grant;
      },
    });
    const answer = provider.callback();
    this.#server.on('request', (request, response) => {
      if (this.#away) request.socket.destroy();
      else if (request.url?.startsWith('/interaction/')) {
        this.#accounts.set(this.here.sub, this.here);
        void provider.interactionFinished(request, response, { login: { accountId: this.here.sub } });
      } else void answer(request, response);
    });
  }

  /** Nobody answers any more, until it comes back. */
  goAway(away = true): void {
    this.#away = away;
  }

  async close(): Promise<void> {
    this.#server.closeAllConnections();
    this.#server.close();
    await once(this.#server, 'close');
  }
}
