import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { endpoints } from '../gateway/models/endpoints.ts';
import type { Exchange } from '../gateway/models/exchange.ts';
import type { ModelGate } from '../gateway/models/gate.ts';
import { listModels } from '../gateway/models/list-models.ts';
import { handleCall } from '../gateway/models/pipeline.ts';
import type { ThroughputMeter } from './throughput.ts';

/**
 * The models door. The pipeline reads the body itself, after it knows the caller, and writes the answer itself, so
 * Fastify parses nothing here.
 */
export async function registerModels(
  app: FastifyInstance,
  gate: ModelGate,
  throughput: ThroughputMeter,
): Promise<void> {
  await app.register(async (scope) => {
    scope.removeAllContentTypeParsers();
    scope.addContentTypeParser('*', (_request, payload, done) => done(null, payload));
    for (const endpoint of endpoints) {
      scope.post(endpoint.path, { helmet: false }, async (request, reply) => {
        reply.hijack();
        const began = gate.clock.monotonic();
        await handleCall(gate, exchangeOf(request, reply, began), endpoint);
        throughput.record(gate.clock.monotonic() - began);
      });
    }
    scope.get('/v1/models', { helmet: false }, async (request, reply) => {
      reply.hijack();
      await listModels(gate, exchangeOf(request, reply, gate.clock.monotonic()));
    });
  });
}

function exchangeOf(request: FastifyRequest, reply: FastifyReply, receivedAt: number): Exchange {
  return {
    request: request.raw,
    response: reply.raw,
    requestId: request.id,
    clientAddress: request.clientAddress,
    access: request.access,
    receivedAt,
  };
}
