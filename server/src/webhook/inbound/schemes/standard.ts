import { createPublicKey, type KeyObject, verify } from 'node:crypto';
import { webhookSecretBytesMin } from '../../../base/inbound-limits.ts';
import { PortcullisError } from '../../../base/errors.ts';
import type { Proof, Scheme, SourceOptions } from '../model.ts';
import { isRefusal, malformed, nearTime, oneHeader } from './header.ts';
import { anySecret, hmac, isSame } from './hmac.ts';

const publicPrefix = 'whpk_';
const signaturesMax = 10;
// An ed25519 public key as SubjectPublicKeyInfo (RFC 8410): this, then its 32 bytes.
const spkiPrefix = Buffer.from('302a300506032b6570032100', 'hex');

/**
 * Standard Webhooks: `{id}.{time}.{body}` under v1 (HMAC-SHA256) or v1a (ed25519).
 * https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
 * @throws PortcullisError invalid_argument for a key that is none
 */
export function standardWebhooks({
  secrets: keys,
  tolerance_s: toleranceS,
}: Pick<SourceOptions, 'secrets' | 'tolerance_s'>): Scheme {
  const secrets = keys.filter((key) => !key.startsWith(publicPrefix)).map(secretOf);
  const publicKeys = keys.filter((key) => key.startsWith(publicPrefix)).map(publicKeyOf);
  return {
    prepare(headers, nowS) {
      const given = oneHeader(headers, 'webhook-signature');
      if (isRefusal(given)) return given;
      const id = oneHeader(headers, 'webhook-id');
      if (isRefusal(id)) return id;
      const timestamp = nearTime(oneHeader(headers, 'webhook-timestamp'), nowS, toleranceS);
      if (isRefusal(timestamp)) return timestamp;
      const items = given.split(' ').map((item) => /^(v[0-9]+a?),([A-Za-z0-9+/]+={0,2})$/.exec(item));
      // A point within the id would make two pairs of id and time the same text.
      if (items.includes(null) || items.length > signaturesMax || id.includes('.')) return malformed;
      const of = (version: string) => items.flatMap((item) => (item?.[1] === version ? [item[2] ?? ''] : []));
      return (body): Proof | null => {
        const head = `${id}.${timestamp}.`;
        const byHmac = anySecret(secrets, (secret) => {
          const made = hmac('sha256', secret, [head, body]).toString('base64');
          return anySecret(of('v1'), (signature) => isSame(made, signature));
        });
        const byKey = anySecret(publicKeys, (key) =>
          anySecret(of('v1a'), (signature) => holds(key, [head, body], signature)),
        );
        return byHmac || byKey ? { id, known: [[`${id}.`, body]] } : null;
      };
    },
    typePointers: ['/type'],
    keptHeaders: ['webhook-id', 'webhook-timestamp'],
  };
}

function holds(key: KeyObject, [head, body]: readonly [string, Buffer], text: string): boolean {
  const signature = Buffer.from(text, 'base64');
  // The last sign of base64 has bits that say nothing: only one way to write it counts.
  if (signature.length !== 64 || signature.toString('base64') !== text) return false;
  return verify(null, Buffer.concat([Buffer.from(head), body]), key, signature);
}

function secretOf(text: string): Buffer {
  const secret = Buffer.from(text.replace(/^whsec_/, ''), 'base64');
  if (secret.length >= webhookSecretBytesMin) return secret;
  throw new PortcullisError(
    'invalid_argument',
    `A secret of Standard Webhooks decodes to ${webhookSecretBytesMin} bytes or more.`,
  );
}

function publicKeyOf(text: string): KeyObject {
  const bytes = Buffer.from(text.slice(publicPrefix.length), 'base64');
  if (bytes.length !== 32)
    throw new PortcullisError('invalid_argument', 'A public key of Standard Webhooks decodes to 32 bytes.');
  return createPublicKey({ key: Buffer.concat([spkiPrefix, bytes]), format: 'der', type: 'spki' });
}
