import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { endpoints } from '../gateway/models/endpoints.ts';
import type { Exchange } from '../gateway/models/exchange.ts';
import type { ModelGate } from '../gateway/models/gate.ts';
import { listModels } from '../gateway/models/list-models.ts';
import { handleCall } from '../gateway/models/pipeline.ts';
import type { ThroughputMeter } from './throughput.ts';

// Headers for pages, of no use to an SDK, on a path where every microsecond counts.
const options = { config: { page: false } } as const;

/** The models door. The pipeline reads the body itself, after it knows the caller, and writes the answer itself. */
export function registerModels(app: FastifyInstance, gate: ModelGate, throughput: ThroughputMeter): void {
  for (const endpoint of endpoints) {
    app.post(endpoint.path, options, async (request, reply) => {
      const exchange = takeOver(request, reply, gate);
      await handleCall(gate, exchange, endpoint);
      throughput.record(gate.clock.monotonic() - exchange.receivedAt);
    });
  }
  app.get('/v1/models', options, (request, reply) => listModels(gate, takeOver(request, reply, gate)));
}

/** From here on the answer is ours alone to write; headers that hooks have set for it (CORS) stay. */
function takeOver(request: FastifyRequest, reply: FastifyReply, gate: ModelGate): Exchange {
  for (const [name, value] of Object.entries(reply.getHeaders()))
    if (value !== undefined) reply.raw.setHeader(name, value);
  reply.hijack();
  return {
    request: request.raw,
    response: reply.raw,
    requestId: request.id,
    clientAddress: request.clientAddress,
    certificate: request.certificate,
    access: request.access,
    receivedAt: gate.clock.monotonic(),
  };
}
