import type { Usage } from './usage.ts';

/**
 * The canonical conversation: what a request means, whatever dialect it came in. A dialect parses into it and is written
 * from it, so n dialects need n parsers and n writers, never n² translations.
 *
 * Normal form: turns of one role do not follow each other, no text block is empty, every tool result answers a call of
 * the assistant turn before it (`turn-builder.ts` makes it so).
 */
export interface Conversation {
  /** The model that the caller named. */
  readonly model: string;
  readonly system: readonly TextBlock[];
  readonly turns: readonly Turn[];
  readonly tools: readonly Tool[];
  readonly toolChoice: ToolChoice;
  readonly temperature: number | null;
  readonly topP: number | null;
  readonly stop: readonly string[];
  /** Null: the caller set no limit. */
  readonly maxOutputTokens: number | null;
  readonly stream: boolean;
  /** Whether the stream is to report usage: always in Anthropic's dialect, by `stream_options` in chat. */
  readonly streamUsage: boolean;
  /** The caller's own opaque name for its end user. */
  readonly user: string | null;
}

export interface TextBlock {
  readonly type: 'text';
  readonly text: string;
}

export interface ToolCallBlock {
  readonly type: 'tool_call';
  readonly id: string;
  readonly name: string;
  /** The arguments as the JSON text that the model wrote; whether it is JSON at all is the model's doing. */
  readonly argumentsJson: string;
}

export interface ToolResultBlock {
  readonly type: 'tool_result';
  readonly callId: string;
  readonly content: readonly TextBlock[];
  readonly isError: boolean;
}

export type UserBlock = TextBlock | ToolResultBlock;
export type AssistantBlock = TextBlock | ToolCallBlock;

export type Turn =
  | { readonly role: 'system'; readonly blocks: readonly TextBlock[] }
  | { readonly role: 'user'; readonly blocks: readonly UserBlock[] }
  | { readonly role: 'assistant'; readonly blocks: readonly AssistantBlock[] };

export type JsonObject = Readonly<Record<string, unknown>>;

export interface Tool {
  readonly name: string;
  readonly description: string | null;
  /** JSON Schema of the arguments, an object schema. */
  readonly schema: JsonObject;
  /** Whether the provider must hold the model to the schema; null leaves it to the provider. */
  readonly strict: boolean | null;
}

export type ToolChoice =
  | { readonly mode: 'auto' | 'none' | 'required'; readonly parallel: boolean }
  | { readonly mode: 'tool'; readonly name: string; readonly parallel: boolean };

/** What every dialect does when the caller says nothing about tools. */
export const defaultToolChoice: ToolChoice = { mode: 'auto', parallel: true };

/** Why the model stopped. `length` covers the caller's limit, the model's limit and the context window. */
export type StopReason = 'end' | 'length' | 'tool' | 'stop_sequence' | 'refusal';

/** A whole answer, not streamed. */
export interface Answer {
  /** The provider's identifier; empty when it gave none. */
  readonly id: string;
  /** The model as the provider names it; empty when it gave none. */
  readonly model: string;
  readonly blocks: readonly AssistantBlock[];
  readonly stop: StopReason;
  /** The sequence that stopped the model, where the provider says which. */
  readonly stopSequence: string | null;
  /** Null: the provider reported none. */
  readonly usage: Usage | null;
}

/** Where a translated request goes. */
export interface Target {
  /** The provider's own name for the model. */
  readonly model: string;
  /** The most output tokens that the model can give; null when nobody said. */
  readonly maxOutputTokens: number | null;
  /** A chat server that may know one of the two names of the output limit alone, and is told it by both. */
  readonly bothOutputLimits?: boolean;
  /** Whether what the target cannot express is refused, or dropped and listed. */
  readonly lossy: 'refuse' | 'allow';
}
