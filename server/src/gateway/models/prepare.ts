import { PortcullisError } from '../../base/errors.ts';
import { translatedBodyBytesMax } from '../../base/limits.ts';
import type { Dialect } from '../../llm/dialect.ts';
import { parseExactJson } from '../../llm/exact-json.ts';
import type { RequestFacts } from '../../llm/facts.ts';
import { usageRequestEdit } from '../../llm/chat/facts.ts';
import { type BodyEdit, type ScannedBody, editBody } from '../../llm/json-scan.ts';
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
 * @throws PortcullisError payload_too_large, invalid_argument (what the other dialect cannot say)
 */
export function prepare(request: Request): Prepared {
  const { from, to, body, scanned, facts, modelServed, route, target } = request;
  if (from !== to || target.provider.kind === 'sim') requireParsable(body);
  if (from !== to) {
    const translation = translateRequest({
      from,
      to,
      body: parseExactJson(body.toString()),
      target: {
        model: modelServed,
        maxOutputTokens: target.maxOutputTokens,
        lossy: route.lossy,
        // Local servers differ in which name of the limit they obey.
        bothOutputLimits: target.provider.kind === 'openai-compatible',
      },
    });
    return { body: Buffer.from(translation.body), translation, hideUsage: false };
  }
  const edits: BodyEdit[] = [];
  if (facts.model !== modelServed) edits.push({ ...facts.modelRange, json: JSON.stringify(modelServed) });
  const asks = to === 'chat' && facts.stream && !facts.usageRequested ? usageRequestEdit(body, scanned) : null;
  if (asks) edits.push(asks);
  return { body: edits.length > 0 ? editBody(body, edits) : body, translation: null, hideUsage: asks !== null };
}

/** Bytes that pass are cheap; a body that is parsed becomes many times its size. @throws PortcullisError payload_too_large */
export function requireParsable(body: Buffer): void {
  if (body.length <= translatedBodyBytesMax) return;
  throw new PortcullisError(
    'payload_too_large',
    `The body is larger than ${translatedBodyBytesMax} bytes, the most for a model that the gate translates for or answers for: ask for less, or for a model whose provider speaks your dialect.`,
  );
}
