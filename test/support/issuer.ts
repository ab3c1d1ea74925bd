import { once } from 'node:events';
import { createServer, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import {
  exportJWK,
  generateKeyPair,
  type GenerateKeyPairResult,
  type JWTPayload,
  type ProtectedHeaderParameters,
  SignJWT,
} from 'jose';

/** What an identity provider answers at its keys: the keys, or one of the ways in which that goes wrong. */
export type JwksMode = 'ok' | 'error' | 'reset' | 'hang' | 'garbage' | 'huge' | 'redirect';

/** A key pair with an id. */
export interface SigningKey {
  readonly kid: string;
  readonly alg: string;
  readonly pair: GenerateKeyPairResult;
}

export async function signingKey(kid: string, alg: string): Promise<SigningKey> {
  return { kid, alg, pair: await generateKeyPair(alg, { extractable: true }) };
}

/** A server that publishes the public keys of an issuer, and fails as it is told to. */
export class TestIssuer {
  keys: readonly SigningKey[];
  mode: JwksMode = 'ok';
  /** Requests for the keys that arrived. */
  fetches = 0;
  readonly #server: Server;
  readonly #hanging = new Set<ServerResponse>();

  constructor(keys: readonly SigningKey[]) {
    this.keys = keys;
    this.#server = createServer((_request, response) => void this.#answer(response));
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  get jwksUri(): string {
    return `${this.url}/keys`;
  }

  async listen(): Promise<this> {
    this.#server.listen(0, '127.0.0.1');
    await once(this.#server, 'listening');
    return this;
  }

  async close(): Promise<void> {
    this.#server.closeAllConnections();
    this.#server.close();
    await once(this.#server, 'close');
  }

  /** Ends the answers that `hang` keeps waiting. */
  release(): void {
    for (const response of this.#hanging) response.destroy();
    this.#hanging.clear();
  }

  async #answer(response: ServerResponse): Promise<void> {
    this.fetches++;
    switch (this.mode) {
      case 'ok':
        response.setHeader('content-type', 'application/json');
        response.end(JSON.stringify({ keys: await Promise.all(this.keys.map(publicJwk)) }));
        return;
      case 'error':
        response.writeHead(500).end('canary: the stack of the issuer');
        return;
      case 'reset':
        response.destroy();
        return;
      case 'hang':
        this.#hanging.add(response);
        return;
      case 'garbage':
        response.end('{"keys":{"not":"a list"}}');
        return;
      case 'huge':
        response.end(JSON.stringify({ keys: [], padding: 'x'.repeat(1024 * 1024) }));
        return;
      case 'redirect':
        response.writeHead(302, { location: this.jwksUri }).end();
        return;
    }
  }
}

async function publicJwk({ kid, alg, pair }: SigningKey): Promise<object> {
  return { ...(await exportJWK(pair.publicKey)), kid, alg, use: 'sig' };
}

/** Signs claims as they are. A header that is given replaces the usual one. */
export async function sign(
  claims: JWTPayload,
  { kid, alg, pair }: SigningKey,
  header: Partial<ProtectedHeaderParameters> = {},
): Promise<string> {
  return new SignJWT(claims).setProtectedHeader({ alg, kid, typ: 'at+jwt', ...header }).sign(pair.privateKey);
}

/** Fetches JSON as `identity/` asks for it. */
export async function fetchJson(url: string, signal: AbortSignal, bytesMax: number): Promise<unknown> {
  const response = await fetch(url, { signal, redirect: 'error' });
  if (response.status !== 200) throw new Error(`${url} answered ${response.status}`);
  const text = await response.text();
  if (text.length > bytesMax) throw new Error(`${url} answered more than ${bytesMax} bytes`);
  return JSON.parse(text);
}
