import { PortcullisError } from '../../base/errors.ts';
import { translatedBodyBytesMax } from '../../base/limits.ts';
import { type InWindow, type WindowRules, fitWindow, promptTokensMax } from '../../llm/context-window.ts';
import type { Dialect } from '../../llm/dialect.ts';
import { parseExactJson } from '../../llm/exact-json.ts';
import type { RequestFacts } from '../../llm/facts.ts';
import { usageRequestEdit } from '../../llm/chat/facts.ts';
import { type BodyEdit, type ScannedBody, editBody } from '../../llm/json-scan.ts';
import { storeEdit } from '../../llm/responses/facts.ts';
import { outputLimitEdits } from '../../llm/output-limit.ts';
import { type Draft, type TranslatedRequest, draftRequest } from '../../llm/translate.ts';
import type { Trimmed } from '../../llm/trim.ts';
import type { Operation } from './endpoints.ts';
import type { Route, Target } from './routing.ts';

/** An output limit that was lowered, or set where there was none, so that the call fits in a budget or can be bounded. */
export interface Clamp {
  readonly maxTokens: number;
  /** The name of the one that has room for no more, or needs a bound. */
  readonly budget: string;
}

export interface Prepared {
  readonly body: Buffer;
  /** Null where both sides speak the same dialect and bytes pass. */
  readonly translation: TranslatedRequest | null;
  /** What was taken out so that the rest fits in the target's window. */
  readonly trimmed: Trimmed | null;
  /** Null where the output limit is what the client asked for. */
  readonly clamp: Clamp | null;
  /** The gate asked for usage in the stream and the client did not. */
  readonly hideUsage: boolean;
}

interface Request {
  readonly operation: Operation;
  readonly from: Dialect;
  readonly to: Dialect;
  readonly body: Buffer;
  readonly scanned: ScannedBody;
  readonly facts: RequestFacts;
  readonly modelServed: string;
  readonly route: Route;
  readonly target: Target;
  readonly clamp: Clamp | null;
  readonly signal: AbortSignal;
}

/**
 * The bytes that go upstream. Same dialect: the client's own, with the model's name replaced at the very range that was
 * authorized, and usage asked for in chat streams (decision 0006). Another dialect, or a conversation that the route
 * allows to trim and that is too long (decision 0013): translated.
 * @throws PortcullisError payload_too_large, invalid_argument (what the other dialect cannot say), context_length_exceeded
 */
export async function prepare(request: Request): Promise<Prepared> {
  if (request.target.provider.kind === 'sim') requireParsable(request.body);
  if (request.from !== request.to) return translated(request);
  return (await trimmed(request)) ?? passing(request);
}

async function translated(request: Request): Promise<Prepared> {
  const draft = draftFor(request, request.route.lossy);
  return written(request, draft, await fitWindow(draft.conversation, windowRules(request)));
}

function written({ clamp }: Request, draft: Draft, inWindow: InWindow): Prepared {
  const { trimmed } = inWindow;
  const { conversation, maxOutputTokens } = clamp === null ? inWindow : clamped(inWindow, clamp);
  const translation = draft.write(conversation, maxOutputTokens);
  return { body: Buffer.from(translation.body), translation, trimmed, clamp, hideUsage: false };
}

function clamped({ conversation, maxOutputTokens }: InWindow, { maxTokens }: Clamp): Omit<InWindow, 'trimmed'> {
  return {
    conversation: { ...conversation, maxOutputTokens: Math.min(conversation.maxOutputTokens ?? Infinity, maxTokens) },
    maxOutputTokens: Math.min(maxOutputTokens ?? Infinity, maxTokens),
  };
}

/** Null where bytes pass: the route trims nothing, the conversation fits, or it is malformed and the provider's to judge. */
async function trimmed(request: Request): Promise<Prepared | null> {
  const { operation, route, target, facts, body } = request;
  const { contextTokens } = target.capabilities;
  if (operation !== 'generate' || route.trim === 'refuse' || contextTokens === null) return null;
  if ((promptTokensMax(facts) ?? Infinity) + (facts.maxOutputTokens ?? 1) <= contextTokens) return null;
  requireParsable(body);
  const exact = draftOrNull(request, route.lossy);
  // What a translation would lose is of no weight while nothing must be taken out.
  const draft = exact ?? draftOrNull(request, 'allow');
  if (draft === null) return null;
  const fitted = await fitWindow(draft.conversation, windowRules(request));
  if (fitted.trimmed === null) return null;
  return exact === null ? translated(request) : written(request, exact, fitted);
}

function draftOrNull(request: Request, lossy: Route['lossy']): Draft | null {
  try {
    return draftFor(request, lossy);
  } catch (error) {
    if (error instanceof PortcullisError && error.code === 'invalid_argument') return null;
    throw error;
  }
}

function draftFor({ from, to, body, modelServed, target }: Request, lossy: Route['lossy']): Draft {
  requireParsable(body);
  return draftRequest({
    from,
    to,
    body: parseExactJson(body.toString()),
    target: {
      model: modelServed,
      provider: target.provider.name,
      capabilities: target.capabilities,
      lossy,
      bothOutputLimits: hasBothOutputLimits(target),
      commonFieldsOnly: target.provider.kind === 'gemini',
      fourStopsOnly: target.provider.kind === 'openai' || target.provider.kind === 'azure',
    },
  });
}

/** Local servers differ in which name of the limit they obey. */
function hasBothOutputLimits({ provider }: Target): boolean {
  return provider.kind === 'openai-compatible';
}

function windowRules({ from, target, route, facts, signal }: Request): WindowRules {
  return {
    dialect: from,
    capabilities: target.capabilities,
    trim: route.trim,
    promptTokensMax: promptTokensMax(facts),
    signal,
  };
}

function passing({ to, body, scanned, facts, modelServed, target, clamp }: Request): Prepared {
  const edits: BodyEdit[] = [];
  if (facts.model !== modelServed) edits.push({ ...facts.modelRange, json: JSON.stringify(modelServed) });
  const asks = to === 'chat' && facts.stream && !facts.usageRequested ? usageRequestEdit(body, scanned) : null;
  if (asks) edits.push(asks);
  // The vendor stores answers unless told not to (decision 0011).
  const statelessly = to === 'responses' ? storeEdit(body, scanned) : null;
  if (statelessly) edits.push(statelessly);
  if (clamp) {
    const limit = { limit: clamp.maxTokens, byAllNames: hasBothOutputLimits(target) };
    edits.push(...outputLimitEdits(body, scanned, to, limit));
  }
  return {
    body: edits.length > 0 ? editBody(body, edits) : body,
    translation: null,
    trimmed: null,
    clamp,
    hideUsage: asks !== null,
  };
}

/** Bytes that pass are cheap; a body that is parsed becomes many times its size. @throws PortcullisError payload_too_large */
export function requireParsable(body: Buffer): void {
  if (body.length <= translatedBodyBytesMax) return;
  throw new PortcullisError(
    'payload_too_large',
    `The body is larger than ${translatedBodyBytesMax} bytes, the most for a model that the gate translates for or answers for: ask for less, or for a model whose provider speaks your dialect.`,
  );
}
