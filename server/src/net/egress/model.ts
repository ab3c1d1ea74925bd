import { type ErrorCode, PortcullisError } from '../../base/errors.ts';

/** The parts of the program that send requests out: what connections are kept by, and a label of the metric. */
export type EgressOwner = 'webhook' | 'approval' | 'jwks';

/** A target that the operator allows to be private, and in the clear: an exact host and port. */
export interface AllowedTarget {
  /** As URL.hostname spells it, without a dot at the end. */
  readonly host: string;
  readonly port: number;
}

/** One request to an address outside. */
export interface EgressRequest {
  readonly owner: EgressOwner;
  /** Whose connections these are, for example a project's id: two shares never use one connection. */
  readonly share?: string;
  readonly url: string;
  /**
   * Who wrote the URL. What the operator wrote in the configuration may be private, in the clear and on any port;
   * metadata services are refused all the same. Anything else that reaches a URL is `others`, the default.
   */
  readonly writtenBy?: 'operator' | 'others';
  /** GET by default. */
  readonly method?: 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE' | 'HEAD';
  /** Visible ASCII alone; what frames the message and names its target is not the caller's. */
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string | Uint8Array;
  /** For all of it: resolving, connecting, TLS, the answer's head and body. */
  readonly timeoutMs: number;
  readonly responseBytesMax: number;
  /**
   * What of the answer's body is wanted. `whole` (the default) refuses one that is larger than the bound, or encoded; `start` gives the
   * first bytes as they came, never decoded, and lets the rest go.
   */
  readonly take?: 'whole' | 'start';
  readonly signal?: AbortSignal;
}

/** An answer of any status: redirects (3xx) are given as they are, and never followed. */
export interface EgressAnswer {
  readonly status: number;
  /** Names in lower case; a header that came twice has several values. */
  readonly headers: Readonly<Record<string, string | readonly string[] | undefined>>;
  readonly body: Buffer;
  /** Whether `body` lacks its end (`take: 'start'` alone). */
  readonly truncated: boolean;
}

/** Every way not to get an answer, and the code of the error that tells of it. The names are stable: delivery logs keep them. */
export const egressReasons = {
  // Refused by the URL and headers alone
  invalid_url: 'invalid_argument',
  scheme: 'invalid_argument',
  userinfo: 'invalid_argument',
  port: 'invalid_argument',
  private_address: 'invalid_argument',
  metadata_address: 'invalid_argument',
  header: 'invalid_argument',
  // Refused when the name was resolved, before any connection
  unresolved: 'upstream_error',
  private_answer: 'upstream_error',
  mixed_answer: 'upstream_error',
  // Not tried
  busy: 'unavailable',
  closed: 'unavailable',
  // Tried, and failed
  connect: 'upstream_error',
  tls: 'upstream_error',
  broken: 'upstream_error',
  too_large: 'upstream_error',
  encoded: 'upstream_error',
  deadline: 'deadline_exceeded',
  cancelled: 'client_closed',
} as const satisfies Record<string, ErrorCode>;

export type EgressReason = keyof typeof egressReasons;

/** Reasons with which nothing was sent, and never is while the URL, the names and the configuration stay as they are. */
const refusals: readonly EgressReason[] = [
  'invalid_url',
  'scheme',
  'userinfo',
  'port',
  'private_address',
  'metadata_address',
  'header',
  'private_answer',
  'mixed_answer',
  'unresolved',
];

/** Why there is no answer. `message` names no address that a name turned out to have; `internal` may. */
export class EgressError extends PortcullisError {
  readonly reason: EgressReason;

  constructor(reason: EgressReason, message: string, options: { internal?: string; cause?: unknown } = {}) {
    super(egressReasons[reason], message, options);
    this.name = 'EgressError';
    this.reason = reason;
  }

  /** Whether the target was refused: no byte left. */
  get refused(): boolean {
    return refusals.includes(this.reason);
  }
}
