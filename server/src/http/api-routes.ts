import { createHash } from 'node:crypto';
import { Code, ConnectError, createContextValues } from '@connectrpc/connect';
import { universalRequestFromNodeRequest, universalResponseToNodeResponse } from '@connectrpc/connect-node';
import type { UniversalHandler } from '@connectrpc/connect/protocol';
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { accessRecordKey, principalKey, refusalKey, signedRequestKey } from '../api/context.ts';
import { PortcullisError } from '../base/errors.ts';
import { answerBytesPerSMin, unreadAnswerMs } from '../base/limits.ts';
import { publicReadsPerMinute } from '../base/telemetry-limits.ts';
import type { Logger } from '../base/log.ts';
import type { BodyDigest } from '../identity/signatures/model.ts';
import { signedRequestOf } from '../identity/signatures/node-request.ts';
import { holdDeadline } from './deadline-headers.ts';
import { type GuardOptions, admitCaller } from './guard.ts';
import { type Meters, type RateClass, takeTurn } from './rates.ts';
import { discardBody } from './refusal.ts';

/**
 * The control API. The guard runs before a byte of the body is read; its refusal is left to the authorization layer of
 * the services, which alone can put it in the protocol that the client speaks (gRPC, gRPC-Web, Connect).
 */
export async function registerApi(
  app: FastifyInstance,
  guardOptions: GuardOptions,
  rate: RateClass,
  handlers: readonly UniversalHandler[],
  log: Logger,
): Promise<void> {
  await mountGuarded(app, handlers, log, async (request, reply) => {
    await admitCaller(guardOptions, rate, request, reply);
  });
}

/**
 * What of the control API needs no credential. None is looked at, since to verify one may take the database; addresses are
 * limited.
 */
export async function registerPublicApi(
  app: FastifyInstance,
  meters: Meters,
  handlers: readonly UniversalHandler[],
  log: Logger,
): Promise<void> {
  await mountGuarded(app, handlers, log, async (request) =>
    takeTurn(meters, request, 'public_read', publicReadsPerMinute),
  );
}

async function mountGuarded(
  app: FastifyInstance,
  handlers: readonly UniversalHandler[],
  log: Logger,
  admit: (request: FastifyRequest, reply: FastifyReply) => Promise<void>,
): Promise<void> {
  await app.register(async (scope) => {
    scope.addHook('onRequest', async (request, reply) => {
      try {
        await admit(request, reply);
      } catch (thrown) {
        request.refusal = PortcullisError.from(thrown);
        await discardBody(request, reply);
      }
    });
    mountHandlers(scope, handlers, log);
  });
}

/** Serves Connect's handlers of methods at their paths. */
export function mountHandlers(app: FastifyInstance, handlers: readonly UniversalHandler[], log: Logger): void {
  for (const handler of handlers) {
    const { requestPath: url, allowedMethods } = handler;
    app.route({
      method: [...allowedMethods],
      url,
      handler: async (request, reply) => {
        try {
          await answer(handler, request, reply);
        } catch (thrown) {
          reply.raw.destroy();
          // The client went away.
          if (ConnectError.from(thrown).code !== Code.Aborted)
            log.error({ err: thrown, request_id: request.id }, 'an answer of the control API could not be written');
        }
      },
    });
  }
}

async function answer(handler: UniversalHandler, request: FastifyRequest, reply: FastifyReply): Promise<void> {
  // The answer is written past Fastify: headers that hooks have set for it go along.
  for (const [name, value] of Object.entries(reply.getHeaders()))
    if (value !== undefined) reply.raw.setHeader(name, value);
  reply.hijack();
  const digesting = request.headers['content-digest'] === undefined ? null : new DigestingBody(request.raw);
  const values = createContextValues()
    .set(principalKey, request.principal)
    .set(refusalKey, request.refusal)
    .set(accessRecordKey, request.access)
    .set(
      signedRequestKey,
      signedRequestOf(request.raw, request.clientAddress, () => digesting?.digest() ?? null),
    );
  const asked = universalRequestFromNodeRequest(request.raw, reply.raw, undefined, values);
  holdDeadline(asked.header);
  const answered = await handler(digesting ? { ...asked, body: digesting } : asked);
  const sentence = answered.trailer?.get('grpc-message');
  if (sentence) answered.trailer?.set('grpc-message', grpcMessage(decodeURIComponent(sentence)));
  // The answer is written past Fastify: headers that hooks have set for it go along.
  for (const [name, value] of Object.entries(reply.getHeaders()))
    if (value !== undefined) reply.raw.setHeader(name, value);
  reply.hijack();
  const body = takenInTime(answered.body ?? [], () => reply.raw.destroy());
  await universalResponseToNodeResponse({ ...answered, body }, reply.raw);
}

/** An answer of which each part must be taken before the next is made: a client that takes nothing more is cut off. */
async function* takenInTime(
  parts: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
  cutOff: () => void,
): AsyncGenerator<Uint8Array> {
  for await (const part of parts) {
    const late = setTimeout(cutOff, unreadAnswerMs + (part.length / answerBytesPerSMin) * 1000);
    try {
      yield part;
    } finally {
      clearTimeout(late);
    }
  }
}

/** A text as gRPC has it in a header (PROTOCOL-HTTP2, "Percent-Encoded"). What Connect encodes beyond that, grpc-js would show as it is. */
function grpcMessage(text: string): string {
  return text.replace(/[^ -$&-~]+/g, encodeURIComponent);
}

/** A body of which digests are made as it streams by: of the bytes that were sent, not of what they mean. */
class DigestingBody implements AsyncIterable<Uint8Array> {
  readonly #source: AsyncIterable<Uint8Array>;
  readonly #sha256 = createHash('sha256');
  readonly #sha512 = createHash('sha512');
  #digest: BodyDigest | null = null;

  constructor(source: AsyncIterable<Uint8Array>) {
    this.#source = source;
  }

  /** Null until the body was read to its end. */
  digest(): BodyDigest | null {
    return this.#digest;
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Uint8Array> {
    for await (const chunk of this.#source) {
      this.#sha256.update(chunk);
      this.#sha512.update(chunk);
      yield chunk;
    }
    this.#digest = { sha256: this.#sha256.digest(), sha512: this.#sha512.digest() };
  }
}
