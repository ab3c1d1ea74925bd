/**
 * The official SDKs behind one face, so that a test says once what programs of every language see. A method is one way
 * of an SDK to do a thing: `create` gets an answer, `events` iterates over a stream, `stream` is the helper that puts a
 * stream together, `parse` gets structured output: a city and a number of days.
 */
export type Method =
  | `${'messages' | 'completions' | 'responses'}.${'create' | 'events' | 'stream' | 'parse'}`
  | 'messages.count'
  | 'embeddings.create'
  | 'models.list';

export interface ClientOptions {
  readonly gateUrl: string;
  readonly apiKey: string;
  /** The SDK's own number where it is undefined. */
  readonly maxRetries?: number | undefined;
  readonly headers?: Readonly<Record<string, string>>;
}

// oxlint-disable-next-line typescript/no-explicit-any -- whatever the SDK says, as JSON; `any` is what JSON.parse gives
export type Json = any;

/** What an SDK gave its program. */
export interface Told {
  /** The answer as JSON; null of `events`. */
  readonly answer: Json;
  /** The events themselves of `events`, of `stream` their types. */
  readonly events: readonly Json[];
  readonly requestId: string | null;
  readonly parsed?: unknown;
  /** Stands in later params for what the model said: the object that the SDK made of it. */
  readonly said: { readonly $said: number };
}

/** The exception that an SDK raised. */
export interface Failure {
  /** Its class and those that it extends. */
  readonly classes: readonly string[];
  readonly message: string;
  readonly status: number | null;
  readonly requestId: string | null;
  readonly type: string | null;
  readonly code: string | null;
  readonly param: string | null;
  readonly headers: Readonly<Record<string, string>>;
}

export type Outcome = { readonly told: Told } | { readonly failure: Failure };

export interface Sdks {
  /** @param family the SDK whose `models.list` it is; every other method is of one only */
  call(method: Method, params: object, client: ClientOptions, family?: Family): Promise<Outcome>;
  stop(): Promise<void>;
}

export type Family = 'anthropic' | 'openai';

export function familyOf(method: Method): Family {
  return method.startsWith('messages.') ? 'anthropic' : 'openai';
}

/** How long a call may take before the SDK gives it up; none of these tests needs half of it. */
export const clientTimeoutMs = 30_000;
