import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { PortcullisError } from '../../base/errors.ts';
import { webhookBodyMs } from '../../base/inbound-limits.ts';
import { addressPrefix } from '../../net/client-address.ts';
import type { WebhookReceiver } from '../../webhook/inbound/receiver.ts';
import { noteRefusal, problemBody } from '../refusal.ts';
import { BodyRoom, SlowBody } from './inbound-body.ts';

interface Path {
  readonly source: string;
  readonly token?: string;
}

export interface InboundOptions {
  readonly receiver: Pick<WebhookReceiver, 'receive'>;
  /** Tests make it small. */
  readonly room?: BodyRoom;
}

/** Where other systems tell us of events. What they bring is the credential, and is judged before anything of it is kept. */
export function registerInboundWebhooks(
  app: FastifyInstance,
  { receiver, room = new BodyRoom() }: InboundOptions,
): void {
  const options = { config: { page: false } } as const;
  const take = async (request: FastifyRequest<{ Params: Path }>, reply: FastifyReply) => {
    const { source, token = null } = request.params;
    const address = addressPrefix(request.clientAddress);
    try {
      const taken = await receiver.receive({
        source,
        token,
        headers: request.raw.headersDistinct,
        address,
        body: (bytesMax) => room.read(request.raw, request.access, address, bytesMax),
      });
      if (taken.kind === 'handshake') return reply.code(200).type('text/plain; charset=utf-8').send(taken.text);
      const { id, state } = taken;
      if (taken.kind === 'accepted') return reply.code(202).send({ id, state, duplicate: false });
      // Days are dropped; that it was taken once is remembered longer.
      return reply.code(200).send({ id, state: state ?? 'forgotten', duplicate: true });
    } catch (error) {
      if (error instanceof SlowBody) return sendSlow(request, reply);
      throw error;
    }
  };
  app.post<{ Params: Path }>('/v1/webhooks/:source', options, take);
  app.post<{ Params: Path }>('/v1/webhooks/:source/:token', options, take);
}

/** Who sends so slowly is not waited for any more: its connection ends with the answer. */
function sendSlow(request: FastifyRequest, reply: FastifyReply): FastifyReply {
  const error = new PortcullisError('invalid_argument', `The body was not there within ${webhookBodyMs / 1000} s.`);
  noteRefusal(request.access, error);
  return reply
    .code(408)
    .header('connection', 'close')
    .type('application/problem+json')
    .send(JSON.stringify(problemBody(error, request.id, 408)));
}
