import type { Capabilities } from './capabilities.ts';
import type { Dialect } from './dialect.ts';
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
  /** Null: the caller leaves it to the model. */
  readonly reasoning: ReasoningRequest | null;
  /** Null: free text. */
  readonly outputFormat: OutputFormat | null;
  /** How long the answer's text is to be, in dialects that can say it. */
  readonly verbosity: 'low' | 'medium' | 'high' | null;
  /** `priority` and its likes cost more: only what both sides offer is mapped. Null: the caller leaves it to the provider. */
  readonly serviceTier: 'auto' | 'standard' | null;
  readonly stream: boolean;
  /** Whether the stream is to report usage: `stream_options` in chat, always in the other dialects. */
  readonly streamUsage: boolean;
  /** The caller's own opaque name for its end user. */
  readonly user: string | null;
}

/** Ends a prefix that the provider is asked to cache. */
export interface CacheMark {
  /** The usual lifetime of the provider, or its longer and dearer one. */
  readonly lifetime: 'usual' | 'long';
}

export interface TextBlock {
  readonly type: 'text';
  readonly text: string;
  readonly cache?: CacheMark;
}

export interface ImageBlock {
  readonly type: 'image';
  readonly source: Base64Source | UrlSource;
  /** OpenAI's wish for the resolution; null where nothing was said. */
  readonly detail: string | null;
  readonly cache?: CacheMark;
}

export interface DocumentBlock {
  readonly type: 'document';
  readonly source: Base64Source | UrlSource | PlainTextSource;
  /** A file name, or a title; null where it has none. */
  readonly title: string | null;
  readonly cache?: CacheMark;
}

export interface Base64Source {
  readonly kind: 'base64';
  /** For images `image/png` and the like, for documents `application/pdf`. */
  readonly mediaType: string;
  readonly data: string;
}

export interface UrlSource {
  readonly kind: 'url';
  readonly url: string;
}

export interface PlainTextSource {
  readonly kind: 'text';
  readonly text: string;
}

/**
 * What the model thought. Only the provider that wrote it can use it again, and knows it by its seal; to any other it
 * is left out (`fit.ts`).
 */
export interface ReasoningBlock {
  readonly type: 'reasoning';
  /** What was shown of it; empty where the provider hides all. */
  readonly text: string;
  /** Null where the provider gave nothing to prove it by. */
  readonly seal: Seal | null;
}

/**
 * What the provider of a reasoning block needs to know it again: a signature, or the reasoning itself, encrypted. Opaque
 * to us and to the caller, who carries it and may change it: a writer takes from it only the members that it knows.
 */
export interface Seal {
  /** The dialect whose provider made it; it means nothing in any other. */
  readonly dialect: Dialect;
  /** The provider that made it, by its name in the configuration; absent where the caller has its own form of the seal. */
  readonly provider?: string;
  /** The members of the block in that dialect, besides its text. */
  readonly members: JsonObject;
}

export interface ToolCallBlock {
  readonly type: 'tool_call';
  readonly id: string;
  readonly name: string;
  /** The arguments as the JSON text that the model wrote; whether it is JSON at all is the model's doing. */
  readonly argumentsJson: string;
  readonly cache?: CacheMark;
}

export interface ToolResultBlock {
  readonly type: 'tool_result';
  readonly callId: string;
  readonly content: readonly ContentBlock[];
  readonly isError: boolean;
  readonly cache?: CacheMark;
}

/** What a person, or a tool, shows the model. */
export type ContentBlock = TextBlock | ImageBlock | DocumentBlock;
export type UserBlock = ContentBlock | ToolResultBlock;
export type AssistantBlock = TextBlock | ReasoningBlock | ToolCallBlock;

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
  /**
   * A tool of OpenAI's kind `custom`, whose input is free text. Elsewhere it is a tool with one string, `input`
   * (`freeform-tools.ts`), and its calls become calls of the custom tool again on the way back.
   */
  readonly freeform?: true;
  /** OpenAI's Responses groups tools. The name begins with that of its group and a dot, so that it is whole elsewhere. */
  readonly namespace?: string;
  readonly cache?: CacheMark;
}

export type ToolChoice =
  | { readonly mode: 'auto' | 'none' | 'required'; readonly parallel: boolean }
  | { readonly mode: 'tool'; readonly name: string; readonly parallel: boolean };

/** What every dialect does when the caller says nothing about tools. */
export const defaultToolChoice: ToolChoice = { mode: 'auto', parallel: true };

export const reasoningEfforts = ['none', 'minimal', 'low', 'medium', 'high', 'xhigh', 'max'] as const;
export type ReasoningEffort = (typeof reasoningEfforts)[number];

/** How much the model is to think, and whether it shows it. */
export interface ReasoningRequest {
  /** Null where the caller gave a budget, or leaves the amount to the model. `none` switches thinking off. */
  readonly effort: ReasoningEffort | null;
  /** Anthropic's way to say it; null where nothing was said. */
  readonly budgetTokens: number | null;
  /** Whether a readable form is wanted; null where nothing was said. */
  readonly show: boolean | null;
}

/** Structured output: the answer's text is JSON of this schema. */
export interface OutputFormat {
  /** OpenAI demands a name; null where the dialect has none. */
  readonly name: string | null;
  readonly description: string | null;
  /** Null: any JSON object (`json_object`). */
  readonly schema: JsonObject | null;
  readonly strict: boolean | null;
}

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

/** What a dialect needs besides the answer to write it: some repeat the request in it. */
export interface AnswerContext {
  /** Unix seconds. */
  readonly createdS: number;
  /** The request as the caller meant it, under its own names. */
  readonly request: Conversation;
}

/** Where a translated request goes. */
export interface Target {
  /** The provider's own name for the model. */
  readonly model: string;
  /** The provider's name in the configuration, by which it knows its own seals. */
  readonly provider?: string;
  readonly capabilities: Capabilities;
  /** A chat server that may know one of the two names of the output limit alone, and is told it by both. */
  readonly bothOutputLimits?: boolean;
  /** A chat server that refuses fields of OpenAI's that it does not have. */
  readonly commonFieldsOnly?: boolean;
  /** A chat server that takes no more stop sequences than OpenAI does. */
  readonly fourStopsOnly?: boolean;
  /** Whether what the target cannot express is refused, or dropped and listed. */
  readonly lossy: 'refuse' | 'allow';
}
