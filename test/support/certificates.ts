import {
  createHash,
  createPublicKey,
  generateKeyPairSync,
  type KeyObject,
  randomBytes,
  sign,
  X509Certificate,
} from 'node:crypto';

/** A certificate with its private key, both in PEM. */
export interface Issued {
  readonly cert: string;
  readonly key: string;
}

/** What a certificate shall say; what is left out is what a good leaf of an agent says. */
export interface Leaf {
  readonly commonName?: string;
  readonly uris?: readonly string[];
  readonly dns?: readonly string[];
  readonly emails?: readonly string[];
  readonly ips?: readonly (readonly number[])[];
  readonly ca?: boolean;
  /** Bits from the left: digitalSignature is 0x80, keyCertSign 0x04, cRLSign 0x02; null leaves the extension out. */
  readonly keyUsage?: number | null;
  /** Object identifiers of extended key usages; none leaves the extension out. */
  readonly usages?: readonly string[];
  /** Seconds from now. */
  readonly fromS?: number;
  readonly toS?: number;
  /** Extensions in DER, besides. */
  readonly more?: readonly Buffer[];
}

const oid = {
  commonName: '550403',
  subjectAltName: '551d11',
  keyUsage: '551d0f',
  extendedKeyUsage: '551d25',
  basicConstraints: '551d13',
  ecdsaWithSha256: '2a8648ce3d040302',
  clientAuth: '2b06010505070302',
  serverAuth: '2b06010505070301',
};

/** Makes certificates byte by byte, so that tests can make what no tool would. */
export class Authority implements Issued {
  readonly cert: string;
  readonly key: string;
  readonly #name: Buffer;
  readonly #key: KeyObject;

  /** @param by who signs it; itself when left out */
  constructor(name: string, by?: Authority, more: Leaf = {}) {
    const pair = generateKeyPairSync('ec', { namedCurve: 'P-256' });
    this.#key = pair.privateKey;
    this.#name = nameOf(name);
    this.key = pemOf(pair.privateKey);
    const extensions = { ca: true, keyUsage: 0x06, usages: [], ...more };
    const signer = by ?? this;
    this.cert = signer.#sign(pair.publicKey, this.#name, extensions);
  }

  /** A leaf and its key, signed by this authority. */
  leaf(more: Leaf = {}): Issued {
    const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
    return { cert: this.leafFor(publicKey, more), key: pemOf(privateKey) };
  }

  leafFor(publicKey: KeyObject, more: Leaf = {}): string {
    return this.#sign(publicKey, more.commonName === undefined ? sequence() : nameOf(more.commonName), more);
  }

  /** A leaf of an agent. */
  agent(name: string, more: Leaf = {}): Issued {
    return this.leaf({ uris: [`spiffe://example.org/agent/${name}`], ...more });
  }

  /** A certificate for a server on this machine. */
  server(more: Leaf = {}): Issued {
    return this.leaf({ dns: ['localhost'], ips: [[127, 0, 0, 1]], usages: [oid.serverAuth], ...more });
  }

  #sign(publicKey: KeyObject, subject: Buffer, leaf: Leaf): string {
    const algorithm = sequence(der(0x06, Buffer.from(oid.ecdsaWithSha256, 'hex')));
    const toBeSigned = sequence(
      der(0xa0, der(0x02, Buffer.from([2]))),
      der(0x02, Buffer.concat([Buffer.from([1]), randomBytes(8)])),
      algorithm,
      this.#name,
      sequence(time(leaf.fromS ?? -60), time(leaf.toS ?? 3600)),
      subject,
      publicKey.export({ type: 'spki', format: 'der' }),
      der(0xa3, sequence(...extensionsOf(leaf))),
    );
    const signature = sign('sha256', toBeSigned, this.#key);
    const bytes = sequence(toBeSigned, algorithm, der(0x03, Buffer.concat([Buffer.from([0]), signature])));
    return `-----BEGIN CERTIFICATE-----\n${(bytes.toString('base64').match(/.{1,64}/g) ?? []).join('\n')}\n-----END CERTIFICATE-----\n`;
  }
}

/** `x5t#S256` of a certificate in PEM. */
export function thumbprint(cert: string): string {
  return createHash('sha256').update(new X509Certificate(cert).raw).digest('base64url');
}

/** The value of `Client-Cert` (RFC 9440) for a certificate in PEM. */
export function clientCertHeader(cert: string): string {
  return `:${new X509Certificate(cert).raw.toString('base64')}:`;
}

export function publicKeyOf(cert: string): KeyObject {
  return createPublicKey(cert);
}

/** The extension of alternative names with these elements in it. */
export function alternativeNames(...names: readonly Buffer[]): Buffer {
  return extension(oid.subjectAltName, sequence(...names));
}

/** One element of DER. */
export function der(tag: number, ...parts: readonly Buffer[]): Buffer {
  const body = Buffer.concat(parts);
  const { length } = body;
  const size = length < 0x80 ? [length] : length < 0x100 ? [0x81, length] : [0x82, length >> 8, length & 0xff];
  return Buffer.concat([Buffer.from([tag, ...size]), body]);
}

function extensionsOf({ uris = [], dns = [], emails = [], ips = [], ca = false, ...rest }: Leaf): Buffer[] {
  const { keyUsage = 0x80, usages = [oid.clientAuth], more = [] } = rest;
  const names = [
    ...emails.map((text) => der(0x81, Buffer.from(text))),
    ...dns.map((text) => der(0x82, Buffer.from(text))),
    ...uris.map((text) => der(0x86, Buffer.from(text))),
    ...ips.map((bytes) => der(0x87, Buffer.from(bytes))),
  ];
  const list: Buffer[] = [extension(oid.basicConstraints, sequence(...(ca ? [der(0x01, Buffer.from([0xff]))] : [])))];
  if (keyUsage !== null) list.push(extension(oid.keyUsage, der(0x03, Buffer.from([1, keyUsage]))));
  if (usages.length > 0) {
    const all = usages.map((usage) => der(0x06, Buffer.from(usage, 'hex')));
    list.push(extension(oid.extendedKeyUsage, sequence(...all)));
  }
  if (names.length > 0) list.push(alternativeNames(...names));
  return [...list, ...more];
}

/** @param id in hexadecimal */
export function extension(id: string, value: Buffer, critical = false): Buffer {
  const isCritical = critical ? [der(0x01, Buffer.from([0xff]))] : [];
  return sequence(der(0x06, Buffer.from(id, 'hex')), ...isCritical, der(0x04, value));
}

function sequence(...parts: readonly Buffer[]): Buffer {
  return der(0x30, ...parts);
}

function nameOf(commonName: string): Buffer {
  const attribute = sequence(der(0x06, Buffer.from(oid.commonName, 'hex')), der(0x0c, Buffer.from(commonName)));
  return sequence(der(0x31, attribute));
}

function time(fromNowS: number): Buffer {
  const digits = new Date(Date.now() + fromNowS * 1000).toISOString().replaceAll(/\D/g, '');
  return der(0x17, Buffer.from(`${digits.slice(2, 14)}Z`));
}

function pemOf(key: KeyObject): string {
  return key.export({ type: 'pkcs8', format: 'pem' });
}
