import { webhookParsedBytesMax } from '../../../base/inbound-limits.ts';
import type { Proof, Scheme, SourceOptions } from '../model.ts';
import { parseJson, textAt } from '../pointer.ts';
import { isRefusal, malformed, nearTime, oneHeader } from './header.ts';
import { anySecret, hmac, hmacScheme, isSame, signedParts } from './hmac.ts';

type Of = Pick<SourceOptions, 'secrets' | 'tolerance_s'>;

const plain = { algorithm: 'sha256', encoding: 'hex', prefix: '', timestampHeader: null, idHeader: null } as const;

/**
 * GitHub signs the body alone; the id of a delivery (`x-github-delivery`) is not signed, so it proves nothing.
 * https://docs.github.com/en/webhooks/using-webhooks/validating-webhook-deliveries
 */
export function github({ secrets, tolerance_s: toleranceS }: Of): Scheme {
  return {
    ...hmacScheme({
      ...plain,
      secrets,
      toleranceS,
      signatureHeader: 'x-hub-signature-256',
      prefix: 'sha256=',
      parts: signedParts('{body}'),
    }),
    typeHeader: 'x-github-event',
    keptHeaders: ['x-github-event', 'x-github-delivery', 'x-github-hook-id'],
  };
}

/** Slack signs `v0:{time}:{body}`. https://docs.slack.dev/authentication/verifying-requests-from-slack */
export function slack({ secrets, tolerance_s: toleranceS }: Of): Scheme {
  return {
    ...hmacScheme({
      ...plain,
      secrets,
      toleranceS,
      signatureHeader: 'x-slack-signature',
      prefix: 'v0=',
      timestampHeader: 'x-slack-request-timestamp',
      parts: signedParts('v0:{timestamp}:{body}'),
    }),
    typePointers: ['/event/type', '/type'],
    idPointer: '/event_id',
    keptHeaders: ['x-slack-retry-num', 'x-slack-retry-reason'],
    handshake: (body) => (textAt(body, '/type') === 'url_verification' ? textAt(body, '/challenge') : null),
  };
}

/**
 * Shopify signs the body alone, in base64; topic and ids stand in headers that are not signed.
 * https://shopify.dev/docs/apps/build/webhooks/subscribe/https
 */
export function shopify({ secrets, tolerance_s: toleranceS }: Of): Scheme {
  return {
    ...hmacScheme({
      ...plain,
      encoding: 'base64',
      secrets,
      toleranceS,
      signatureHeader: 'x-shopify-hmac-sha256',
      parts: signedParts('{body}'),
    }),
    typeHeader: 'x-shopify-topic',
    keptHeaders: ['x-shopify-topic', 'x-shopify-webhook-id', 'x-shopify-event-id', 'x-shopify-shop-domain'],
  };
}

/** Plain HMAC of the body in hex, as senders of upload-post callbacks do that are set up with a secret (`x-signature`). */
export function uploadPost({ secrets, tolerance_s: toleranceS }: Of): Scheme {
  return hmacScheme({ ...plain, secrets, toleranceS, signatureHeader: 'x-signature', parts: signedParts('{body}') });
}

/**
 * Stripe signs `{time}.{body}`, with each of its secrets; schemes other than v1 are to be ignored.
 * https://docs.stripe.com/webhooks#verify-manually
 */
export function stripe({ secrets, tolerance_s: toleranceS }: Of): Scheme {
  return {
    prepare(headers, nowS) {
      const given = oneHeader(headers, 'stripe-signature');
      if (isRefusal(given)) return given;
      const items = given.split(',').map((item) => /^([a-z0-9]+)=(.*)$/.exec(item));
      const values = (name: string) => items.flatMap((item) => (item?.[1] === name ? [item[2] ?? ''] : []));
      const [times, signatures] = [values('t'), values('v1')];
      if (items.includes(null) || times.length !== 1 || signatures.length > 10) return malformed;
      if (signatures.length === 0) return { status: 'missing', reason: 'no_signature' };
      const timestamp = nearTime(times[0] ?? '', nowS, toleranceS);
      if (isRefusal(timestamp)) return timestamp;
      return (body): Proof | null => {
        const isSigned = anySecret(secrets, (secret) => {
          const made = hmac('sha256', secret, [`${timestamp}.`, body]).toString('hex');
          return anySecret(signatures, (signature) => isSame(made, signature));
        });
        return isSigned ? { id: '', known: [['.', body]] } : null;
      };
    },
    typePointers: ['/type'],
    idPointer: '/id',
  };
}

const kieTaskPointers = ['/data/task_id', '/data/taskId', '/taskId', '/task_id'];

/**
 * KIE.ai signs the id of the task and the time, in base64: the rest of the body proves nothing, which handlers are told.
 * https://docs.kie.ai/common-api/webhook-verification
 */
export function kieai({ secrets, tolerance_s: toleranceS }: Of): Scheme {
  return {
    prepare(headers, nowS) {
      const signature = oneHeader(headers, 'x-webhook-signature');
      if (isRefusal(signature)) return signature;
      const timestamp = nearTime(oneHeader(headers, 'x-webhook-timestamp'), nowS, toleranceS);
      if (isRefusal(timestamp)) return timestamp;
      return (body): Proof | null => {
        const content = body.length > webhookParsedBytesMax ? null : parseJson(body);
        const taskId = kieTaskPointers.map((pointer) => textAt(content, pointer)).find((id) => id !== null) ?? '';
        // A point within it would make two pairs of id and time the same text.
        if (!/^[A-Za-z0-9_-]{1,200}$/.test(taskId)) return null;
        const isSigned = anySecret(secrets, (secret) =>
          isSame(hmac('sha256', secret, [`${taskId}.${timestamp}`]).toString('base64'), signature),
        );
        // A task tells of itself several times, so its id is not the event's. By the first whoever has seen a signature cannot
        // put another body under it; by the second an event that is sent again is known.
        return isSigned
          ? {
              id: '',
              known: [
                [taskId, '.', timestamp],
                [taskId, '\n', body],
              ],
            }
          : null;
      };
    },
    typePointers: ['/data/callbackType', '/msg'],
  };
}
