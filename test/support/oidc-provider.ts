import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { exportJWK } from 'jose';
import { Provider } from 'oidc-provider';
import type { SigningKey } from './issuer.ts';

/** A certified OpenID provider on the loopback, which issues access tokens to one client by client credentials. */
export class TestProvider {
  readonly issuer: string;
  readonly #server: Server;

  constructor(server: Server, issuer: string) {
    this.#server = server;
    this.issuer = issuer;
  }

  /** @throws Error with the provider's answer */
  async token(scope: string, resource: string): Promise<string> {
    const response = await fetch(`${this.issuer}/token`, {
      method: 'POST',
      headers: { authorization: `Basic ${btoa('agent-client:agent-secret')}` },
      body: new URLSearchParams({ grant_type: 'client_credentials', scope, resource }),
    });
    const answer = (await response.json()) as { access_token?: string };
    if (!answer.access_token) throw new Error(JSON.stringify(answer));
    return answer.access_token;
  }

  async close(): Promise<void> {
    this.#server.closeAllConnections();
    this.#server.close();
    await once(this.#server, 'close');
  }
}

/** @param alg of the access tokens */
export async function startProvider(keys: readonly SigningKey[], alg: 'ES256' | 'RS256'): Promise<TestProvider> {
  const server = createServer();
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const issuer = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const provider = new Provider(issuer, {
    jwks: {
      keys: await Promise.all(
        keys.map(async ({ kid, alg, pair }) => ({ ...(await exportJWK(pair.privateKey)), kid, alg, use: 'sig' })),
      ),
    },
    clients: [
      {
        client_id: 'agent-client',
        client_secret: 'agent-secret',
        grant_types: ['client_credentials'],
        redirect_uris: [],
        response_types: [],
      },
    ],
    scopes: ['models:invoke', 'mcp:tools.exec', 'admin'],
    ttl: { ClientCredentials: 600 },
    features: {
      devInteractions: { enabled: false },
      clientCredentials: { enabled: true },
      resourceIndicators: {
        enabled: true,
        getResourceServerInfo: (_context, resource) => ({
          scope: 'models:invoke mcp:tools.exec admin',
          audience: resource,
          accessTokenFormat: 'jwt',
          accessTokenTTL: 600,
          jwt: { sign: { alg } },
        }),
      },
    },
  });
  const answer = provider.callback();
  server.on('request', (request, response) => void answer(request, response));
  return new TestProvider(server, issuer);
}
