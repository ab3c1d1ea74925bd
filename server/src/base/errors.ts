/**
 * The one error type of the system and the one table of its stable codes.
 *
 * A code never changes its meaning and is never reused. `docs/reference/errors.md` is generated from this table.
 */

/** What a code means to a caller. `final` refusals carry `x-should-retry: false`, since SDKs retry 409, 429 and 5xx by themselves. */
export interface ErrorCodeInfo {
  readonly status: number;
  readonly title: string;
  readonly final: boolean;
  readonly doc: string;
}

function define<const T extends Record<string, ErrorCodeInfo>>(table: T): T {
  return table;
}

export const errorCodes = define({
  invalid_argument: {
    status: 400,
    title: 'Invalid argument',
    final: true,
    doc: 'The request is malformed or a field has a value that is not allowed. The detail names the field.',
  },
  context_length_exceeded: {
    status: 400,
    title: 'Context length exceeded',
    final: true,
    doc: "The prompt does not fit in the target's window: by the gate's own estimate (`observed` and `limit` are tokens), or as the provider says in a stream. The wording is that of the caller's dialect. Shorten the conversation.",
  },
  unauthenticated: {
    status: 401,
    title: 'Unauthenticated',
    final: true,
    doc: 'No credential, or one that does not hold. Every cause reads the same to the caller; the reason is in the access log.',
  },
  insufficient_scope: {
    status: 403,
    title: 'Insufficient scope',
    final: true,
    doc: 'The credential is good but lacks the scope that this operation declares.',
  },
  policy_denied: {
    status: 403,
    title: 'Denied by policy',
    final: true,
    doc: 'A rule, an allow-list of the key, or an unknown price refused the call. `rule` names it.',
  },
  origin_denied: {
    status: 403,
    title: 'Origin not allowed',
    final: true,
    doc: 'The browser origin is not in ALLOWED_ORIGINS; or a request in a session does not show that it comes from our own page, by its Origin and CSRF token.',
  },
  not_found: { status: 404, title: 'Not found', final: true, doc: 'No such path, model or resource in this project.' },
  conflict: {
    status: 409,
    title: 'Conflict',
    final: true,
    doc: 'The resource exists already or is in a state that forbids this.',
  },
  in_progress: {
    status: 409,
    title: 'In progress',
    final: false,
    doc: 'The first call with this Idempotency-Key is still under way. Ask again after Retry-After, under the same key.',
  },
  payload_too_large: {
    status: 413,
    title: 'Payload too large',
    final: true,
    doc: 'The body passed the limit, counted in bytes as they arrived.',
  },
  misdirected: {
    status: 421,
    title: 'Misdirected request',
    final: true,
    doc: 'The Host header is not one of ours (ALLOWED_HOSTS).',
  },
  idempotency_mismatch: {
    status: 422,
    title: 'Idempotency key used for another request',
    final: true,
    doc: 'An Idempotency-Key stands for one request: this one differs from the one that it was first used for.',
  },
  rate_limited: {
    status: 429,
    title: 'Rate limited',
    final: false,
    doc: 'Too many calls by this principal, or too many failed credentials from this address. Wait for Retry-After.',
  },
  budget_exceeded: {
    status: 429,
    title: 'Budget exceeded',
    final: true,
    doc: 'The worst case of this call does not fit in a budget. Members say which, and when it resets.',
  },
  client_closed: {
    status: 499,
    title: 'Client closed request',
    final: true,
    doc: 'The caller went away before the answer. Seen in logs only.',
  },
  internal: {
    status: 500,
    title: 'Internal error',
    final: false,
    doc: 'A fault of ours. The request id finds it in the log.',
  },
  upstream_error: {
    status: 502,
    title: 'Upstream error',
    final: false,
    doc: 'The provider failed or answered something that is not its protocol.',
  },
  unavailable: {
    status: 503,
    title: 'Unavailable',
    final: false,
    doc: 'A needed part (database, fresh control state, capacity) is not there. Nothing was sent upstream.',
  },
  cannot_verify: {
    status: 503,
    title: 'Cannot verify',
    final: false,
    doc: 'The identity provider is unreachable and no keys are cached, so the token can be neither accepted nor refused.',
  },
  killed: {
    status: 503,
    title: 'Stopped by the kill switch',
    final: true,
    doc: 'An operator stopped this scope. The detail says which, and the reason given.',
  },
  deadline_exceeded: {
    status: 504,
    title: 'Deadline exceeded',
    final: false,
    doc: "A deadline (connect, first token, idle or total; of the control API the client's own) passed, or the time that a budget allows an attempt. That last is paid for and final: the same call would take as long again.",
  },
});

export type ErrorCode = keyof typeof errorCodes;

/** What is wrong with one field of a request. */
export interface FieldViolation {
  /** Its path in the schema's spelling. */
  readonly field: string;
  readonly description: string;
}

/** Members that a refusal may add to its answer. Amounts are text in the unit that `unit` names. */
export interface ErrorMembers {
  readonly retryAfterS?: number;
  readonly rule?: string;
  readonly unit?: string;
  readonly limit?: string;
  /** Spent and held together. */
  readonly observed?: string;
  readonly spent?: string;
  readonly held?: string;
  readonly remaining?: string;
  readonly resetsAt?: string;
  /** The request field at fault, in the caller's own spelling. */
  readonly param?: string;
}

export interface ErrorOptions extends ErrorMembers {
  /** For the log only: never leaves the process. */
  readonly internal?: string;
  /** Every field at fault, where it may be more than `param`. */
  readonly violations?: readonly FieldViolation[];
  readonly cause?: unknown;
  /** Whether trying again by itself is no use, where that differs from what the code says. */
  readonly final?: boolean;
}

/** An error with a stable code. `message` is public; `internal` and `cause` go to the log alone. */
export class PortcullisError extends Error {
  readonly code: ErrorCode;
  readonly internal: string | undefined;
  readonly members: ErrorMembers;
  readonly violations: readonly FieldViolation[];
  /** True when trying again by itself cannot help: the caller, an operator or the calendar must change something. */
  readonly final: boolean;

  constructor(code: ErrorCode, message: string, options: ErrorOptions = {}) {
    const { internal, cause, violations = [], final = errorCodes[code].final, ...members } = options;
    super(message, cause === undefined ? undefined : { cause });
    this.name = 'PortcullisError';
    this.code = code;
    this.internal = internal;
    this.members = members;
    this.violations = violations;
    this.final = final;
  }

  get status(): number {
    return errorCodes[this.code].status;
  }

  /** Converts anything thrown to an error with a code: what we did not foresee is `internal` and tells the caller nothing. */
  static from(thrown: unknown): PortcullisError {
    if (thrown instanceof PortcullisError) return thrown;
    const internal = thrown instanceof Error ? thrown.message : String(thrown);
    return new PortcullisError('internal', 'The gate met an internal error.', { internal, cause: thrown });
  }
}
