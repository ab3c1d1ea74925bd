import { isDeepStrictEqual } from 'node:util';
import { PortcullisError } from '../../server/src/base/errors.ts';
import { jsonDepthMax } from '../../server/src/base/limits.ts';
import { wire } from '../../server/src/gateway/models/wire.ts';
import { type Capabilities, fullCapabilities } from '../../server/src/llm/capabilities.ts';
import type { Conversation } from '../../server/src/llm/conversation.ts';
import type { Dialect } from '../../server/src/llm/dialect.ts';
import { parseExactJson } from '../../server/src/llm/exact-json.ts';
import { scanObject } from '../../server/src/llm/json-scan.ts';
import { Losses } from '../../server/src/llm/losses.ts';
import { type TranslatedRequest, translateRequest } from '../../server/src/llm/translate.ts';
import { wireFormats } from '../../server/src/llm/wire-formats.ts';
import { type Direction, type Expected, type Members, type Outcome, outcomeFor } from './outcome.ts';

/** Something that a request can ask for. */
export interface RequestFeature {
  readonly name: string;
  /** How a caller of each dialect says it to a provider of another. A dialect without words for it is absent. */
  readonly says: Partial<Readonly<Record<Dialect, Members | ((to: Dialect) => Members)>>>;
  /** What a provider is sent, where that is not what a caller of its dialect would say. */
  readonly sent?: Partial<Readonly<Record<Dialect, Members>>>;
  readonly expected: Expected;
  /** What the model behind the name cannot do; it can do everything else. */
  readonly model?: Partial<Capabilities>;
  /** Proven through a running gate besides. */
  readonly throughGate?: true;
}

/** What becomes of the feature, with the body that the provider is sent. */
export type Result =
  | { readonly kind: 'mapped' | 'adapted'; readonly body: Members }
  | { readonly kind: 'hint'; readonly dropped: readonly string[]; readonly body: Members }
  | Extract<Outcome, { kind: 'refused' }>;

const user = { role: 'user', content: 'Hi' };

/** The least that a caller of each dialect can ask. */
export const leastRequests: Readonly<Record<Dialect, Members>> = {
  anthropic: { model: 'asked', max_tokens: 4000, messages: [user] },
  chat: { model: 'asked', max_completion_tokens: 4000, messages: [user] },
  responses: { model: 'asked', max_output_tokens: 4000, input: [user] },
};

/** The body by which a caller asks for the feature; null where its dialect cannot. */
export function requestBody({ says }: RequestFeature, { from, to }: Direction): Members | null {
  const said = says[from];
  if (said === undefined) return null;
  return { ...leastRequests[from], ...(typeof said === 'function' ? said(to) : said) };
}

/** Null where the caller's dialect cannot say it. @throws Error where what is said and what is expected do not fit */
export function requestOutcome({ name, says, expected }: RequestFeature, direction: Direction): Outcome | null {
  const cannot = says[direction.from] === undefined;
  const outcome = cannot && 'kind' in expected ? null : outcomeFor(expected, direction);
  if ((outcome === null) === cannot) return outcome;
  throw new Error(`"${name}" is said by ${direction.from} and not expected to ${direction.to}, or the other way round`);
}

/** What is expected: the least request as the provider is sent it, with the feature in the provider's words. */
export function expectedRequest(feature: RequestFeature, direction: Direction): Result | null {
  const outcome = requestOutcome(feature, direction);
  if (outcome === null || outcome.kind === 'refused') return outcome;
  const { to } = direction;
  const own = typeof feature.says[to] === 'function' ? undefined : feature.says[to];
  const words = outcome.sent ?? feature.sent?.[to] ?? (outcome.kind === 'hint' ? {} : own) ?? {};
  const least = JSON.parse(translate(leastRequests[direction.from], direction, feature, 'refuse').body) as Members;
  const body = plain({ ...least, ...words });
  return outcome.kind === 'hint' ? { kind: 'hint', dropped: outcome.dropped, body } : { kind: outcome.kind, body };
}

/** What the gate's own translation makes of it; null where the caller's dialect cannot say it. */
export function foundRequest(feature: RequestFeature, direction: Direction): Result | null {
  const asked = requestBody(feature, direction);
  if (asked === null) return null;
  const done = attempt(asked, direction, feature, 'refuse');
  if (done instanceof PortcullisError) {
    const allowed = attempt(asked, direction, feature, 'allow');
    const dropped = allowed instanceof PortcullisError ? null : allowed.dropped;
    return { kind: 'refused', message: done.message, dropped };
  }
  const body = JSON.parse(done.body) as Members;
  if (done.dropped.length > 0) return { kind: 'hint', dropped: done.dropped, body };
  return { kind: sameMeaning(asked, body, direction) ? 'mapped' : 'adapted', body };
}

/** The other side's parser reads from what it is sent what the caller's parser read. */
function sameMeaning(asked: Members, sent: Members, { from, to }: Direction): boolean {
  const read = (dialect: Dialect, body: Members): Conversation => ({
    ...wireFormats[dialect].parseRequest(body, new Losses('refuse')),
    model: 'the same',
    // Usage is always asked for; who gets it is decided on the way back.
    streamUsage: true,
  });
  return isDeepStrictEqual(plain(read(from, asked)), plain(read(to, sent)));
}

type Change = Pick<RequestFeature, 'model'>;

function attempt(
  asked: Members,
  direction: Direction,
  feature: Change,
  lossy: 'refuse' | 'allow',
): TranslatedRequest | PortcullisError {
  try {
    return translate(asked, direction, feature, lossy);
  } catch (thrown) {
    if (thrown instanceof PortcullisError && thrown.code === 'invalid_argument') return thrown;
    throw thrown;
  }
}

/** As a gate does it (`gateway/models/prepare.ts`): the facts of the bytes are read first, and refuse stored state. */
export function translate(
  asked: Members,
  { from, to }: Direction,
  { model }: Change = {},
  lossy: 'refuse' | 'allow' = 'refuse',
): TranslatedRequest {
  const bytes = Buffer.from(JSON.stringify(asked));
  wire[from].readFacts(bytes, scanObject(bytes, { depthMax: jsonDepthMax }));
  const capabilities: Capabilities = { ...fullCapabilities, promptCaching: 'explicit', ...model };
  return translateRequest({
    from,
    to,
    body: parseExactJson(bytes.toString()),
    target: { model: 'served', capabilities, lossy },
  });
}

/** Without members that are undefined, as JSON has none. */
function plain<T>(value: T): T {
  return JSON.parse(JSON.stringify(value)) as T;
}
