import { parseExactJson } from '../../llm/exact-json.ts';
import { isJsonObject } from '../../llm/object-reader.ts';
import { estimateTokens, totalTokens } from '../../llm/tokens.ts';
import { draftRequest } from '../../llm/translate.ts';
import type { CountPlan } from './authorize.ts';
import type { Call } from './call.ts';
import { end } from './client-writer.ts';
import { requireParsable } from './prepare.ts';
import { requestIdHeader } from './wire.ts';

/**
 * Answers here how many tokens a request has, for providers that do not: by the estimate that also decides whether it
 * fits in the window of that target. Nothing goes upstream, so there is no attempt to hold money for or to write a row of.
 * @throws PortcullisError payload_too_large, invalid_argument, or the reason of the abort, when the call must end
 */
export async function countLocally(call: Call, plan: CountPlan, body: Buffer): Promise<void> {
  const { endpoint, exchange } = call;
  requireParsable(body);
  const { conversation } = draftRequest({
    from: endpoint.dialect,
    to: plan.dialectOut,
    body: generating(parseExactJson(body.toString())),
    // What would be refused there does not matter: nobody asks for an answer.
    target: { model: plan.modelServed, capabilities: plan.target.capabilities, lossy: 'allow' },
  });
  const tokens = totalTokens(await estimateTokens(conversation, call.signal));
  call.note({ outcome: 'success' });
  const counted = { input_tokens: tokens };
  const answer = JSON.stringify(
    endpoint.dialect === 'responses' ? { object: 'response.input_tokens', ...counted } : counted,
  );
  exchange.response.writeHead(200, {
    'content-type': 'application/json',
    'content-length': Buffer.byteLength(answer),
    ...requestIdHeader(endpoint.dialect, exchange.requestId),
  });
  end(exchange, answer);
}

/** The request that the counted prompt would be of: Anthropic's demands a limit of the output. */
function generating(json: unknown): unknown {
  return isJsonObject(json) ? { max_tokens: 1, ...json } : json;
}
