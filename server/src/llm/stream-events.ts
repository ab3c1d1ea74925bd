import type { PortcullisError } from '../base/errors.ts';
import type { AnswerContext, Seal, StopReason } from './conversation.ts';
import type { Usage } from './usage.ts';

/** A canonical stream event: what a dialect's decoder yields and its encoder takes. */
export type StreamEvent =
  | { readonly type: 'start'; readonly id: string; readonly model: string; readonly usage: Usage | null }
  | { readonly type: 'block_start'; readonly index: number; readonly block: StreamBlock }
  | { readonly type: 'text_delta'; readonly index: number; readonly text: string }
  | { readonly type: 'arguments_delta'; readonly index: number; readonly json: string }
  | { readonly type: 'reasoning_delta'; readonly index: number; readonly text: string }
  /** The seal of an open reasoning block, once and after its text. */
  | { readonly type: 'seal'; readonly index: number; readonly seal: Seal }
  | { readonly type: 'block_stop'; readonly index: number }
  | {
      readonly type: 'finish';
      readonly stop: StopReason;
      readonly stopSequence: string | null;
      readonly usage: Usage | null;
    }
  | { readonly type: 'ping' }
  | { readonly type: 'error'; readonly error: PortcullisError };

/** The events that carry an answer. */
export type AnswerEvent = Exclude<StreamEvent, { type: 'error' }>;

export type StreamBlock =
  | { readonly kind: 'text' }
  | { readonly kind: 'reasoning' }
  | { readonly kind: 'tool_call'; readonly id: string; readonly name: string };

/** One event of a provider's stream, already taken out of its SSE framing. */
export interface WireEvent {
  readonly event: string;
  readonly data: string;
}

/** Reads a provider's stream. It never throws: what is wrong becomes an `error` event, after which it yields nothing. */
export interface StreamDecoder {
  event(event: WireEvent): StreamEvent[];
  /** The connection ended: yields the `finish` that was still due, or an `error` when the stream was cut. */
  end(): StreamEvent[];
  /** What the provider reported so far. */
  readonly usage: Usage | null;
  /** Bytes of all that the model generated so far, also of what is not passed on: bounds its tokens from above. */
  readonly outputBytes: number;
}

/** Writes a stream in the caller's dialect, as SSE text. It writes nothing after its one terminal or error event. */
export interface StreamEncoder {
  write(event: AnswerEvent): string;
  /** The error event that ends the stream. Blocks that are open stay so: closing them would claim that they are whole. */
  fail(error: PortcullisError, requestId: string): string;
  /** The terminal event is written: the caller has the whole answer. */
  readonly finished: boolean;
  /** An error event ended the stream instead. */
  readonly failed: boolean;
}

/** What the client has of a stream: the bytes of its first whole events, and of its last. */
export interface StreamSoFar {
  readonly first: Buffer;
  readonly last: Buffer;
}

/** Writes the event that ends a stream by an error of the gate's own, after what the client has of it. */
export type StreamErrorEvent = (error: PortcullisError, requestId: string, soFar: StreamSoFar | null) => string;

export interface EncoderOptions extends AnswerContext {
  /** Whether the caller asked for usage, in dialects that leave the choice. */
  readonly includeUsage: boolean;
}
