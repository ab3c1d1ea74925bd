import { PortcullisError } from '../../server/src/base/errors.ts';
import type { Dialect } from '../../server/src/llm/dialect.ts';
import { parseExactJson } from '../../server/src/llm/exact-json.ts';
import { eventsIn } from '../../server/src/llm/testing/sse-text.ts';
import { isDeepStrictEqual } from 'node:util';
import { type View, streamView, wholeView } from './caller-view.ts';
import { type Direction, type Expected, type Members, type Outcome, outcomeFor } from './outcome.ts';
import { leastRequests, translate } from './request-matrix.ts';

/** What a provider answers. */
export interface Said {
  /** The body; null for what only a stream can have. */
  readonly whole: string | null;
  /** The stream as SSE text; null for what no stream has. */
  readonly streamed: string | null;
}

/** Something that an answer can hold. */
export interface AnswerFeature {
  readonly name: string;
  /** What the caller asked for, besides the least. */
  readonly asks?: Partial<Readonly<Record<Dialect, Members>>>;
  /** A provider's answer in its own dialect. One that cannot say it is absent. */
  readonly said: Partial<Readonly<Record<Dialect, Said>>>;
  /** What the caller is to be told, as far as the feature is about it. */
  readonly told: (direction: Direction) => Partial<View>;
  readonly expected: Expected;
  /** Where a stream differs. */
  readonly expectedStreamed?: Expected;
  /** Proven through a running gate besides. */
  readonly throughGate?: true;
}

/** What becomes of the feature, with what the caller makes of the answer. */
export type AnswerResult =
  | { readonly kind: 'mapped' | 'adapted'; readonly told: Partial<View> }
  | { readonly kind: 'hint'; readonly dropped: readonly string[]; readonly told: Partial<View> }
  | Extract<Outcome, { kind: 'refused' }>;

/** Null where the provider's dialect cannot say it, or not so. */
export function answerOutcome(feature: AnswerFeature, direction: Direction, streamed: boolean): Outcome | null {
  if (saidTo(feature, direction, streamed) === null) return null;
  const { name, expected, expectedStreamed } = feature;
  const outcome = outcomeFor((streamed ? expectedStreamed : undefined) ?? expected, direction);
  if (outcome !== null) return outcome;
  throw new Error(`"${name}" is said by ${direction.to} and not expected by ${direction.from}`);
}

function saidTo({ said }: AnswerFeature, { to }: Direction, streamed: boolean): string | null {
  return said[to]?.[streamed ? 'streamed' : 'whole'] ?? null;
}

export function expectedAnswer(feature: AnswerFeature, direction: Direction, streamed: boolean): AnswerResult | null {
  const outcome = answerOutcome(feature, direction, streamed);
  if (outcome === null || outcome.kind === 'refused') return outcome;
  const told = { ...feature.told(direction), ...outcome.sent };
  return outcome.kind === 'hint' ? { kind: 'hint', dropped: outcome.dropped, told } : { kind: outcome.kind, told };
}

/** What the gate's own translation makes of it. */
export function foundAnswer(feature: AnswerFeature, direction: Direction, streamed: boolean): AnswerResult | null {
  const said = saidTo(feature, direction, streamed);
  if (said === null) return null;
  const done = tell(said, feature, direction, streamed, 'refuse');
  if (done instanceof PortcullisError) {
    const allowed = tell(said, feature, direction, streamed, 'allow');
    return {
      kind: 'refused',
      message: done.message,
      dropped: allowed instanceof PortcullisError ? null : allowed.dropped,
    };
  }
  const wanted = feature.told(direction);
  const told = Object.fromEntries(Object.keys(wanted).map((name) => [name, done.view[name as keyof View]]));
  if (done.dropped.length > 0) return { kind: 'hint', dropped: done.dropped, told };
  return { kind: isDeepStrictEqual(told, wanted) ? 'mapped' : 'adapted', told };
}

interface Done {
  readonly view: View;
  readonly dropped: readonly string[];
}

/** The error is the gate's own: what the provider answered has no words in the caller's dialect. */
function tell(
  said: string,
  { asks }: AnswerFeature,
  direction: Direction,
  streamed: boolean,
  lossy: 'refuse' | 'allow',
): Done | PortcullisError {
  const { from } = direction;
  const translated = translate({ ...leastRequests[from], ...asks?.[from] }, direction, {}, lossy);
  if (!streamed) {
    try {
      const { body, dropped } = translated.answer(parseExactJson(said));
      return { view: wholeView(from, body), dropped };
    } catch (thrown) {
      if (thrown instanceof PortcullisError && thrown.code === 'upstream_error') return thrown;
      throw thrown;
    }
  }
  const translator = translated.stream({ includeUsage: true, requestId: 'req_1' });
  const text =
    eventsIn(said)
      .map((event) => translator.push(event))
      .join('') + translator.end();
  const { error } = translator;
  if (error?.message.startsWith("The provider's answer cannot be translated")) return error;
  return { view: streamView(from, text), dropped: [] };
}
