import { randomUUID } from 'node:crypto';
import { systemClock } from '../base/clock.ts';
import { PortcullisError } from '../base/errors.ts';
import type { Answer, Conversation, ReasoningBlock, Target, TextBlock } from './conversation.ts';
import type { Dialect } from './dialect.ts';
import { fitTo } from './fit.ts';
import { type ToolNames, withLegalNames } from './legal-names.ts';
import { Losses } from './losses.ts';
import { outputLimit } from './openai-fields.ts';
import { fitReasoning } from './reasoning.ts';
import { carriedSeal, withoutForeignSeals } from './seal.ts';
import type { StreamDecoder, StreamEncoder, StreamEvent, WireEvent } from './stream-events.ts';
import type { Usage } from './usage.ts';
import { type WireFormat, wireFormats } from './wire-formats.ts';

export { translateError } from './provider-error.ts';

export interface TranslatedRequest {
  /** The request in the provider's dialect, as JSON text. */
  readonly body: string;
  /** The most output tokens that it asks for; null where it leaves that to the provider. */
  readonly maxOutputTokens: number | null;
  /** The model may generate tokens that are paid for and not shown, by what it is told in its own dialect. */
  readonly mayReason: boolean;
  /** What a lossy route and mere hints lost: names for the `portcullis-dropped` header. */
  readonly dropped: readonly string[];
  /** Translates the provider's whole answer back. @throws PortcullisError upstream_error when that is not possible. */
  answer(json: unknown): TranslatedAnswer;
  /** Translates the provider's stream back. */
  stream(options: StreamOptions): StreamTranslator;
}

export interface TranslatedAnswer {
  readonly body: string;
  /** Null: the provider reported none. */
  readonly usage: Usage | null;
  readonly dropped: readonly string[];
}

export interface StreamOptions {
  /** Whether the caller asked for usage, in dialects that leave the choice. */
  readonly includeUsage: boolean;
  /** For error events that come from the provider. */
  readonly requestId: string;
}

/**
 * Turns the events of a provider's stream into SSE text in the caller's dialect. Whatever comes in, what goes out is one
 * legal stream with one ending: the terminal event (`finished`) or one error event (`failed`), and nothing after it.
 */
export interface StreamTranslator {
  push(event: WireEvent): string;
  /** The provider's connection ended: writes the ending that was still due, or the error event of a stream cut short. */
  end(): string;
  /** Ends the stream with an error of the gate's own. */
  fail(error: PortcullisError, requestId: string): string;
  readonly finished: boolean;
  readonly failed: boolean;
  /** What the error event says; null unless `failed`. */
  readonly error: PortcullisError | null;
  /** What the provider reported so far; null when nothing. */
  readonly usage: Usage | null;
  /** Bytes of all that the model generated so far, also of what stayed behind: bounds its tokens from above. */
  readonly outputBytes: number;
}

export interface TranslationRequest {
  /** The caller's dialect. */
  readonly from: Dialect;
  /** The provider's dialect. */
  readonly to: Dialect;
  /** Parsed by `parseExactJson`, or large numbers in tool arguments are rounded. */
  readonly body: unknown;
  readonly target: Target;
}

/** A request that is read and fitted to its target, and not written yet: it may still have to be shortened. */
export interface Draft {
  /** What the model is to be shown. */
  readonly conversation: Conversation;
  /**
   * Writes the conversation, or what was made of it, with an answer of at most `maxOutputTokens` (null: as its own limits
   * say). Called once.
   * @throws PortcullisError invalid_argument naming the field or block that has no counterpart
   */
  write(conversation: Conversation, maxOutputTokens: number | null): TranslatedRequest;
}

/**
 * Translates a request between dialects, and keeps what its answer needs for the way back.
 * @throws PortcullisError invalid_argument naming the field or block that is malformed or has no counterpart
 */
export function translateRequest(request: TranslationRequest): TranslatedRequest {
  const draft = draftRequest(request);
  return draft.write(draft.conversation, null);
}

/** The first half of `translateRequest`. @throws PortcullisError as it does */
export function draftRequest({ from, to, body, target: declared }: TranslationRequest): Draft {
  const caller = wireFormats[from];
  const provider = wireFormats[to];
  const losses = new Losses(declared.lossy, 'request', from);
  const asked = caller.parseRequest(body, losses);
  if (from === 'anthropic' && to !== from && asked.turns.at(-1)?.role === 'assistant') {
    losses.drop('messages', 'end with the beginning of an answer, and the model behind this name would begin anew');
  }
  return {
    conversation: fitTo(withoutForeignSeals(asked, declared.provider), to, declared.capabilities, losses),
    write: (fitted, maxOutputTokens) => {
      const target = maxOutputTokens === null ? declared : withOutputLimit(declared, maxOutputTokens);
      // How much it may think depends on how much it may say.
      const wish = { ...fitted, reasoning: asked.reasoning };
      const reasoning = target === declared ? fitted.reasoning : fitReasoning(wish, to, target.capabilities, losses);
      const { conversation, names } = withLegalNames({ ...fitted, reasoning }, to);
      return {
        body: provider.writeRequest(conversation, target, losses),
        maxOutputTokens: outputLimit(conversation, target),
        mayReason: mayReason(conversation, to),
        dropped: losses.names,
        answer: (json) => translateAnswer(json, asked, caller, provider, target, names),
        stream: (options) => {
          const answerLosses = new Losses(target.lossy, 'answer');
          const encoder = caller.createEncoder({
            createdS: nowS(),
            request: asked,
            includeUsage: options.includeUsage,
          });
          return new Translator(provider.createDecoder(answerLosses), encoder, names, target, options.requestId);
        },
      };
    },
  };
}

/** Anthropic's models think where they are told to; most others unless they are told not to. */
function mayReason({ reasoning }: Conversation, to: Dialect): boolean {
  return reasoning === null ? to !== 'anthropic' : reasoning.effort !== 'none';
}

function withOutputLimit(target: Target, maxOutputTokens: number): Target {
  const { capabilities } = target;
  const limit = Math.min(maxOutputTokens, capabilities.maxOutputTokens ?? Infinity);
  return { ...target, capabilities: { ...capabilities, maxOutputTokens: limit } };
}

function translateAnswer(
  json: unknown,
  asked: Conversation,
  caller: WireFormat,
  provider: WireFormat,
  target: Target,
  names: ToolNames,
): TranslatedAnswer {
  const losses = new Losses(target.lossy, 'answer');
  const answer = provider.parseAnswer(json, losses);
  const calls = new CallerCalls(names);
  const sealed = (block: TextBlock | ReasoningBlock) => {
    if (block.type === 'text' || block.seal === null) return block;
    const seal = carriedSeal(block.seal, target.provider);
    if (seal === null) losses.hint('reasoning');
    return { ...block, seal };
  };
  const told: Answer = {
    ...answer,
    ...identity(answer, target),
    blocks: answer.blocks.map((block) => (block.type === 'tool_call' ? calls.told(block) : sealed(block))),
  };
  return {
    body: caller.writeAnswer(told, { createdS: nowS(), request: asked }, losses),
    usage: answer.usage,
    dropped: losses.names,
  };
}

/** Some servers give their answers no id or model; clients want both. */
function identity({ id, model }: Pick<Answer, 'id' | 'model'>, target: Target): Pick<Answer, 'id' | 'model'> {
  return { id: id || `gen_${randomUUID()}`, model: model || target.model };
}

function nowS(): number {
  return Math.floor(systemClock.now() / 1000);
}

/** The tool calls of one answer as the caller knows them: by its own names for the tools, and each by an id of its own. */
class CallerCalls {
  readonly #names: ToolNames;
  /** How often each id was told: some servers give one to several calls, and no result could say which it answers. */
  readonly #told = new Map<string, number>();

  constructor(names: ToolNames) {
    this.#names = names;
  }

  told<C extends { readonly id: string; readonly name: string }>(call: C): C {
    let { id } = call;
    let times = this.#told.get(id) ?? 0;
    while (this.#told.has(id)) id = `${call.id}_${++times}`;
    this.#told.set(call.id, times).set(id, 0);
    return { ...call, id, name: this.#names.original(call.name) };
  }
}

class Translator implements StreamTranslator {
  readonly #decoder: StreamDecoder;
  readonly #encoder: StreamEncoder;
  readonly #calls: CallerCalls;
  readonly #target: Target;
  readonly #requestId: string;
  #error: PortcullisError | null = null;

  constructor(decoder: StreamDecoder, encoder: StreamEncoder, names: ToolNames, target: Target, requestId: string) {
    this.#decoder = decoder;
    this.#encoder = encoder;
    this.#calls = new CallerCalls(names);
    this.#target = target;
    this.#requestId = requestId;
  }

  push(event: WireEvent): string {
    return this.#write(this.#decoder.event(event));
  }

  end(): string {
    return this.#write(this.#decoder.end());
  }

  fail(error: PortcullisError, requestId: string): string {
    const text = this.#encoder.fail(error, requestId);
    if (text !== '') this.#error = error;
    return text;
  }

  get error(): PortcullisError | null {
    return this.#error;
  }

  get finished(): boolean {
    return this.#encoder.finished;
  }

  get failed(): boolean {
    return this.#encoder.failed;
  }

  get usage(): Usage | null {
    return this.#decoder.usage;
  }

  get outputBytes(): number {
    return this.#decoder.outputBytes;
  }

  #write(events: readonly StreamEvent[]): string {
    let text = '';
    try {
      for (const event of events) text += this.#writeOne(event);
      return text;
    } catch (thrown) {
      return text + this.fail(PortcullisError.from(thrown), this.#requestId);
    }
  }

  #writeOne(event: StreamEvent): string {
    switch (event.type) {
      case 'error':
        return this.fail(event.error, this.#requestId);
      case 'start':
        return this.#encoder.write({ ...event, ...identity(event, this.#target) });
      case 'block_start': {
        const { block } = event;
        if (block.kind !== 'tool_call') return this.#encoder.write(event);
        return this.#encoder.write({ ...event, block: this.#calls.told(block) });
      }
      case 'seal': {
        const seal = carriedSeal(event.seal, this.#target.provider);
        return seal === null ? '' : this.#encoder.write({ ...event, seal });
      }
      default:
        return this.#encoder.write(event);
    }
  }
}
