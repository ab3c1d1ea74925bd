import { PortcullisError } from '../../base/errors.ts';
import { matchesWildcard } from '../../base/wildcard.ts';
import type { Dialect } from '../../llm/dialect.ts';
import { takeRate } from './admit.ts';
import { end } from './client-writer.ts';
import { type Exchange, header } from './exchange.ts';
import type { ModelGate } from './gate.ts';
import { identify, requireScope } from './identify.ts';
import { answerError } from './refuse.ts';
import { requireSignature } from './signature.ts';
import { requestIdHeader, wire } from './wire.ts';

/** `GET /v1/models`: the models that this credential may name, in the shape of the caller's SDK family. */
export async function listModels(gate: ModelGate, exchange: Exchange): Promise<void> {
  // Anthropic's SDKs always send their version; OpenAI's never do.
  const dialect: Dialect = header(exchange, 'anthropic-version') === undefined ? 'chat' : 'anthropic';
  try {
    const principal = await identify(gate, exchange);
    gate.assertFresh();
    takeRate(gate, exchange, principal);
    requireScope(principal);
    await requireSignature(gate, exchange, principal, Buffer.alloc(0));
    const { models } = principal;
    const allowed = gate
      .routes()
      .names.filter((name) => models === null || models.some((pattern) => matchesWildcard(pattern, name)));
    const body = wire[dialect].modelList(
      allowed.map((id) => ({ id, displayName: id, createdAtMs: 0, ownedBy: 'portcullis' })),
    );
    exchange.access.decision = 'allow';
    exchange.response.writeHead(200, {
      ...requestIdHeader(dialect, exchange.requestId),
      'content-type': 'application/json',
      'content-length': Buffer.byteLength(body),
    });
    end(exchange, body);
  } catch (thrown) {
    answerError(exchange, dialect, PortcullisError.from(thrown));
  }
}
