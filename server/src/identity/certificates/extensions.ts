import { DerError, type Element, elements } from './der.ts';

const sequence = 0x30;
const objectIdentifier = 0x06;
const boolean = 0x01;
const bitString = 0x03;
const octetString = 0x04;
/** The extensions in a certificate: context tag 3 (RFC 5280, section 4.1). */
const extensionsTag = 0xa3;
/** A uniformResourceIdentifier among general names: context tag 6 (RFC 5280, section 4.2.1.6). */
const uriTag = 0x86;
/** The same in a form that DER forbids, and that some readers take all the same. */
const constructedUriTag = 0xa6;

const basicConstraintsOid = '551d13';
const keyUsageOid = '551d0f';
const subjectAltNameOid = '551d11';
const nameConstraintsOid = '551d1e';
const extendedKeyUsageOid = '551d25';

/** Those that somebody here acts on: this file, or Node's `X509Certificate`. */
const knownOids = new Set([basicConstraintsOid, keyUsageOid, subjectAltNameOid, extendedKeyUsageOid]);

/**
 * What Node does not tell of a certificate without its own spelling of it: the URIs among its alternative names, byte by
 * byte, and what it says of its key.
 */
export interface Extensions {
  /** In their order; every byte is one character. */
  readonly uris: readonly string[];
  /** Whether it says of itself that it is an authority's (RFC 5280, section 4.2.1.9), whatever its key may be used for. */
  readonly ca: boolean;
  /** RFC 5280, section 4.2.1.3; null when the certificate does not say. */
  readonly keyUsage: {
    readonly digitalSignature: boolean;
    readonly keyCertSign: boolean;
    readonly crlSign: boolean;
  } | null;
  /** Whether it limits what names an authority may vouch for (RFC 5280, section 4.2.1.10). */
  readonly constrainsNames: boolean;
  /** Whether something in it must be understood (RFC 5280, section 4.2) that nobody here acts on. */
  readonly unknownCritical: boolean;
}

interface Extension {
  readonly critical: boolean;
  readonly value: Buffer;
}

/** @param der a whole certificate @throws DerError */
export function readExtensions(der: Buffer): Extensions {
  const [certificate] = elements(der);
  const [toBeSigned] = elements(bodyOf(certificate, sequence));
  const wrapped = elements(bodyOf(toBeSigned, sequence)).find(({ tag }) => tag === extensionsTag);
  const found = wrapped ? extensionsIn(wrapped) : new Map<string, Extension>();
  const names = found.get(subjectAltNameOid)?.value;
  const usage = found.get(keyUsageOid)?.value;
  const constraints = found.get(basicConstraintsOid)?.value;
  return {
    uris: names ? urisIn(names) : [],
    ca: constraints ? isAuthority(constraints) : false,
    keyUsage: usage ? usageIn(usage) : null,
    constrainsNames: found.has(nameConstraintsOid),
    unknownCritical: [...found].some(([id, { critical }]) => critical && !knownOids.has(id)),
  };
}

/** By their object identifiers in hexadecimal. */
function extensionsIn({ body }: Element): Map<string, Extension> {
  const found = new Map<string, Extension>();
  for (const extension of elements(bodyOf(elements(body)[0], sequence))) {
    // The identifier, perhaps whether it is critical, and the value.
    const parts = elements(bodyOf(extension, sequence));
    const id = bodyOf(parts[0], objectIdentifier).toString('hex');
    // RFC 5280, section 4.2: one reader would take the first, another the last.
    if (found.has(id)) throw new DerError('an extension that is there twice');
    const critical = parts.length > 2 && isTrue(parts[1]);
    found.set(id, { critical, value: bodyOf(parts.at(-1), octetString) });
  }
  return found;
}

function urisIn(value: Buffer): string[] {
  const names = elements(bodyOf(elements(value)[0], sequence));
  if (names.some(({ tag }) => tag === constructedUriTag)) throw new DerError('a URI in several parts');
  return names.filter(({ tag }) => tag === uriTag).map(({ body }) => body.toString('latin1'));
}

function isAuthority(value: Buffer): boolean {
  return isTrue(elements(bodyOf(elements(value)[0], sequence))[0]);
}

function isTrue(element: Element | undefined): boolean {
  return element?.tag === boolean && element.body[0] !== 0;
}

function usageIn(value: Buffer): Extensions['keyUsage'] {
  // The first byte counts unused bits; DER leaves trailing zeros out.
  const bits = bodyOf(elements(value)[0], bitString)[1] ?? 0;
  return { digitalSignature: (bits & 0x80) !== 0, keyCertSign: (bits & 0x04) !== 0, crlSign: (bits & 0x02) !== 0 };
}

function bodyOf(element: Element | undefined, tag: number): Buffer {
  if (element?.tag !== tag) throw new DerError('something else than a certificate has in that place');
  return element.body;
}
