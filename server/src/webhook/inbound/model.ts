/** What became of the proof of who sent something; only `valid` gets an event a row. */
export const signatureStatuses = ['valid', 'invalid', 'missing', 'stale', 'unknown_source'] as const;
export type SignatureStatus = (typeof signatureStatuses)[number];

/** Where an event stands: `kept` is processed too, with nothing to be done; `dead` is given up, until it is replayed. */
export const eventStates = ['pending', 'processed', 'kept', 'dead'] as const;
export type EventState = (typeof eventStates)[number];

/** How senders prove that it was they; the configuration has the same names. */
export const schemeNames = [
  'github',
  'stripe',
  'slack',
  'shopify',
  'standard-webhooks',
  'kieai',
  'upload-post',
  'hmac',
  'shotstack',
] as const;
export type SchemeName = (typeof schemeNames)[number];

/** A source as the configuration has it, with its defaults. */
export interface SourceOptions {
  readonly scheme: SchemeName;
  readonly secrets: readonly string[];
  /** The project's name. */
  readonly project: string;
  /** JSON pointers into the body. */
  readonly run?: string | undefined;
  readonly type?: string | undefined;
  readonly event_id?: string | undefined;
  readonly headers: readonly string[];
  readonly seal: boolean;
  readonly body_bytes_max: number;
  readonly tolerance_s: number;
  readonly signature_header?: string | undefined;
  readonly signature_prefix: string;
  readonly encoding: 'hex' | 'base64';
  readonly algorithm: 'sha256' | 'sha512';
  readonly timestamp_header?: string | undefined;
  readonly id_header?: string | undefined;
  readonly signed: string;
  readonly status_url?: string | undefined;
  readonly api_key?: string | undefined;
}

/** Headers as they came: each name in lower case, with every line that it was on. */
export type ReceivedHeaders = Readonly<Record<string, readonly string[] | undefined>>;

/** Why something is not what it says; `reason` is one of few words, for counts and logs. */
export interface Refusal {
  readonly status: Exclude<SignatureStatus, 'valid' | 'unknown_source'>;
  readonly reason: string;
}

/** Parts that follow each other. */
export type Signed = readonly (string | Buffer)[];

/** What a signature that holds proves. */
export interface Proof {
  /** The sender's own id of the event, where that was signed; empty is none. */
  readonly id: string;
  /**
   * By what it is known again, however it is wrapped: all that was signed but the time, which is new in each delivery of one event.
   * More than one where a signature covers only a part of what is believed.
   */
  readonly known: readonly Signed[];
}

/** Judges a body by what its headers say. Null: none of the secrets made this signature. */
export type Judge = (body: Buffer) => Proof | null;

/** A way to sign. */
export interface Scheme {
  /**
   * What the headers alone say, before a byte of the body is read.
   * @param nowS Unix seconds
   */
  prepare(headers: ReceivedHeaders, nowS: number): Judge | Refusal;
  /** Where the kind of an event is, and the sender's id of it: headers tell what was not signed, and are for people. */
  readonly typeHeader?: string;
  readonly typePointers?: readonly string[];
  readonly idPointer?: string;
  /** Headers of use to whoever reads the event. */
  readonly keptHeaders?: readonly string[];
  /** What to answer to a verified body that only asks whether anybody is there; null for any other. */
  handshake?(body: unknown): string | null;
}

/** An event that is to be written: its signature held. */
export interface NewEvent {
  readonly id: string;
  readonly projectId: string;
  readonly source: string;
  readonly providerEventId: string;
  readonly type: string;
  readonly runId: string | null;
  readonly callbackId: string | null;
  readonly contentType: string;
  readonly headers: Readonly<Record<string, string>>;
  /** As it is stored. */
  readonly body: Buffer;
  readonly bodyBytes: number;
  readonly sealed: boolean;
  /** Epoch milliseconds. */
  readonly receivedAt: number;
}

/** An event as it is kept, without its body and headers. */
export interface WebhookEvent extends Omit<NewEvent, 'body' | 'headers'> {
  readonly state: EventState;
  readonly attempts: number;
  readonly replays: number;
  readonly note: string;
  readonly finishedAt: number | null;
}

/** With both; the body as it was signed, null where it was sealed under a key that is gone. */
export interface WholeEvent extends WebhookEvent {
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Buffer | null;
}

/** A path by which one job of a sender that cannot sign tells us of it. */
export interface Callback {
  readonly id: string;
  readonly projectId: string;
  readonly source: string;
  readonly runId: string | null;
  readonly jobId: string | null;
  readonly createdBy: string;
  readonly createdAt: number;
  readonly expiresAt: number;
}

/** What was refused in an hour, of one source and for one reason. */
export interface RefusedWebhooks {
  readonly source: string;
  readonly hour: number;
  readonly signatureStatus: Exclude<SignatureStatus, 'valid'>;
  readonly reason: string;
  readonly refused: bigint;
  readonly firstAt: number;
  readonly lastAt: number;
  readonly lastAddress: string;
}
