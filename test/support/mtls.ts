import { mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { once } from 'node:events';
import { request as httpsRequest, type RequestOptions } from 'node:https';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { Authority, type Issued } from './certificates.ts';
import { bearer } from './doors.ts';
import { type GateOptions, startGate, type TestGate } from './gate.ts';

export const trustDomain = 'example.org';

/** The TLS files of a gate, in a folder of their own. */
export class MtlsFiles {
  readonly folder = mkdtempSync(join(tmpdir(), 'portcullis-mtls-'));
  readonly certificate = join(this.folder, 'server.pem');
  readonly key = join(this.folder, 'server.key');
  readonly bundle = join(this.folder, 'bundle.pem');

  /** Puts a file in place of another at once, as tools that renew certificates do. */
  put(path: string, content: string): void {
    writeFileSync(`${path}.new`, content);
    renameSync(`${path}.new`, path);
  }

  putServer({ cert, key }: Issued): void {
    this.put(this.certificate, cert);
    this.put(this.key, key);
  }

  putBundle(...authorities: readonly Issued[]): void {
    this.put(this.bundle, authorities.map(({ cert }) => cert).join(''));
  }

  get env(): Record<string, string> {
    return {
      MTLS_ADDR: '127.0.0.1:0',
      MTLS_CERT_FILE: this.certificate,
      MTLS_KEY_FILE: this.key,
      MTLS_TRUST_BUNDLE_FILE: this.bundle,
      MTLS_TRUST_DOMAIN: trustDomain,
    };
  }

  remove(): void {
    rmSync(this.folder, { recursive: true, force: true });
  }
}

/** Where a gate listens for client certificates. */
export function mtlsUrl(gate: TestGate): string {
  const [, url] = /client certificates is at (https:\S+)/.exec(gate.output) ?? [];
  if (url === undefined) throw new Error(`the gate does not say where it listens for certificates:\n${gate.output}`);
  return url;
}

export interface MtlsGate {
  readonly gate: TestGate;
  readonly files: MtlsFiles;
  /** Signs the certificates of clients. */
  readonly authority: Authority;
  readonly url: string;
  readonly stop: () => Promise<void>;
}

/** The authority of the server's own certificate in all tests: what clients trust. */
export const serverAuthority = new Authority('Servers');

export async function startMtlsGate(
  options: GateOptions = {},
  start: (options: GateOptions) => Promise<{ gate: TestGate; stop: () => Promise<void> }> = plain,
): Promise<MtlsGate> {
  const files = new MtlsFiles();
  const authority = new Authority('Agents');
  files.putServer(serverAuthority.server());
  files.putBundle(authority);
  try {
    const { gate, stop } = await start({ ...options, env: { ...files.env, ...options.env } });
    return { gate, files, authority, url: mtlsUrl(gate), stop: () => stop().finally(() => files.remove()) };
  } catch (error) {
    files.remove();
    throw error;
  }
}

async function plain(options: GateOptions) {
  const gate = await startGate(options);
  return { gate, stop: () => gate.stop() };
}

export interface MtlsAnswer {
  readonly status: number;
  readonly text: string;
}

let addresses = 0;

/** An address of this machine from which nothing has failed yet. */
export function freshAddress(): string {
  addresses++;
  return `127.7.${addresses >> 8}.${addresses & 255 || 1}`;
}

export interface MtlsRequest extends Omit<RequestOptions, 'headers'> {
  /** Posted as JSON; without it the request is a GET. */
  readonly body?: string;
  readonly headers?: Readonly<Record<string, string>>;
}

/** One request on a connection of its own, with this certificate or none. @throws Error of the connection */
export async function call(
  url: string,
  client: Partial<Issued>,
  path: string,
  { body, headers, ...more }: MtlsRequest = {},
): Promise<MtlsAnswer> {
  const asked = httpsRequest(url + path, {
    ...client,
    ca: serverAuthority.cert,
    agent: false,
    localAddress: freshAddress(),
    method: body === undefined ? 'GET' : 'POST',
    ...more,
  });
  if (body !== undefined) asked.setHeader('content-type', 'application/json');
  for (const [name, value] of Object.entries(headers ?? {})) asked.setHeader(name, value);
  asked.end(body);
  const [answer] = await once(asked, 'response');
  return { status: answer.statusCode, text: await text(answer) };
}

/** Who the gate takes the caller for: a name, or the status of its refusal, or why the connection failed. */
export async function whoIs(url: string, client: Partial<Issued>, key?: string): Promise<string> {
  const options = { body: '{}', headers: key === undefined ? {} : { ...bearer(key) } };
  try {
    const { status, text } = await call(url, client, '/portcullis.v1.SystemService/GetSelf', options);
    return status === 200 ? JSON.parse(text).principal.name : String(status);
  } catch (error) {
    return error instanceof Error && 'code' in error ? String(error.code) : String(error);
  }
}
