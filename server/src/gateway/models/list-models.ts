import { PortcullisError } from '../../base/errors.ts';
import { matchesWildcard } from '../../base/wildcard.ts';
import { refusalHeaders } from '../../base/refusal-headers.ts';
import { grants } from '../../identity/scopes.ts';
import type { Dialect } from '../../llm/dialect.ts';
import { end } from './client-writer.ts';
import { type Exchange, header } from './exchange.ts';
import type { ModelGate } from './gate.ts';
import { refusalAnswer, wire } from './wire.ts';

/** `GET /v1/models`: the models that this credential may name, in the shape of the caller's SDK family. */
export async function listModels(gate: ModelGate, exchange: Exchange): Promise<void> {
  // Anthropic's SDKs always send their version; OpenAI's never do.
  const dialect: Dialect = header(exchange, 'anthropic-version') === undefined ? 'chat' : 'anthropic';
  const { access, request, response, requestId } = exchange;
  try {
    gate.assertFresh();
    const principal = await gate.authenticator.identify({
      headers: request.headers,
      url: request.url ?? '',
      clientAddress: exchange.clientAddress,
      access,
    });
    if (!grants(principal.scopes, 'models:invoke')) {
      throw new PortcullisError('insufficient_scope', 'This credential lacks the scope models:invoke.', {
        rule: 'scope:models:invoke',
      });
    }
    const allowed = gate
      .routes()
      .names.filter(
        (name) => principal.models === null || principal.models.some((pattern) => matchesWildcard(pattern, name)),
      );
    access.decision = 'allow';
    const body = wire[dialect].modelList(
      allowed.map((id) => ({ id, displayName: id, createdAtMs: 0, ownedBy: 'portcullis' })),
    );
    response.writeHead(200, { 'content-type': 'application/json', 'content-length': Buffer.byteLength(body) });
    end(exchange, body);
  } catch (thrown) {
    const error = PortcullisError.from(thrown);
    access.decision = 'deny';
    access.code = error.code;
    access.internal = error.internal ?? null;
    const { headers, body } = refusalAnswer(dialect, error, requestId);
    response.writeHead(error.status, { ...headers, ...refusalHeaders(error) });
    end(exchange, body);
  }
}
