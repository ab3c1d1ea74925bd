import type { Dialect } from '../../llm/dialect.ts';
import type { RequestFacts } from '../../llm/facts.ts';
import { withUsageRequested } from '../../llm/chat/facts.ts';
import { type ScannedBody, replaceRange } from '../../llm/json-scan.ts';
import { type TranslatedRequest, translateRequest } from '../../llm/translate.ts';
import type { Route, Target } from './routing.ts';

export interface Prepared {
  readonly body: Buffer;
  readonly translation: TranslatedRequest | null;
  readonly hideUsage: boolean;
}

interface Request {
  readonly from: Dialect;
  readonly to: Dialect;
  readonly body: Buffer;
  readonly scanned: ScannedBody;
  readonly facts: RequestFacts;
  readonly modelServed: string;
  readonly route: Route;
  readonly target: Target;
}

/**
 * The bytes that go upstream. Same dialect: the client's own, with the model's name replaced at the very range that was
 * authorized, and usage asked for in chat streams (decision 0006). Another dialect: translated.
 */
export function prepare(request: Request): Prepared {
  const { from, to, body, facts, modelServed, route, target } = request;
  if (from !== to) {
    const translation = translateRequest({
      from,
      to,
      body: JSON.parse(body.toString()),
      target: { model: modelServed, maxOutputTokens: target.maxOutputTokens, lossy: route.lossy },
    });
    return { body: Buffer.from(translation.body), translation, hideUsage: false };
  }
  const asks = to === 'chat' && facts.stream && !facts.usageRequested;
  // The edit that lies later in the bytes comes first, so that the other's range still holds.
  const named = facts.model === modelServed ? body : replaceRange(body, facts.modelRange, JSON.stringify(modelServed));
  return { body: asks ? withUsageRequested(named) : named, translation: null, hideUsage: asks };
}
