import { Code, ConnectError } from '@connectrpc/connect';
import { codeToString } from '@connectrpc/connect/protocol-connect';
import { durationMs, timestampDate } from '@bufbuild/protobuf/wkt';
import { BadRequestSchema } from './gen/google/rpc/error_details_pb.ts';
import { type ErrorInfo, ErrorInfoSchema } from './gen/portcullis/v1/error_pb.ts';
import { textOf } from './text.ts';

/**
 * What went wrong, as a program sees it. The first lines are codes of the gate, stable and never reused; `unreachable` and
 * `cancelled` are this package's own; whatever else an older or newer gate, or a proxy before it, says comes as it is.
 */
export type ErrorCode =
  | 'budget_exceeded'
  | 'cannot_verify'
  | 'client_closed'
  | 'conflict'
  | 'context_length_exceeded'
  | 'deadline_exceeded'
  | 'idempotency_mismatch'
  | 'in_progress'
  | 'insufficient_scope'
  | 'internal'
  | 'invalid_argument'
  | 'killed'
  | 'misdirected'
  | 'not_found'
  | 'origin_denied'
  | 'payload_too_large'
  | 'policy_denied'
  | 'rate_limited'
  | 'unauthenticated'
  | 'unavailable'
  | 'upstream_error'
  /** No answer came: the connection could not be made, or broke. */
  | 'unreachable'
  /** The caller's own AbortSignal ended the call. */
  | 'cancelled'
  | (string & {});

/** One field of a request that broke a rule. */
export interface FieldViolation {
  /** Its path in the schema's spelling, such as `filter.agent_id`. */
  readonly field: string;
  /** What is wrong with it, for people. */
  readonly description: string;
}

/** What a refusal says besides its sentence. Amounts are text, in the unit that `unit` names. */
export interface ErrorDetails {
  /** The field of the request at fault. */
  readonly param?: string;
  /** What the amounts count. */
  readonly unit?: string;
  /** The limit that would have been passed. */
  readonly limit?: string;
  /** What the limit was compared with. */
  readonly observed?: string;
  /** What is left below the limit. */
  readonly remaining?: string;
  /** When the limit begins anew. */
  readonly resetTime?: Date;
  /** Each field at fault. */
  readonly violations: readonly FieldViolation[];
}

/** What a {@link PortcullisError} is made of. */
export interface PortcullisErrorOptions {
  /** See {@link PortcullisError.requestId}. */
  readonly requestId?: string | undefined;
  /** See {@link PortcullisError.rule}. */
  readonly rule?: string | undefined;
  /** See {@link PortcullisError.retryAfterMs}. */
  readonly retryAfterMs?: number | undefined;
  /** See {@link PortcullisError.final}. */
  readonly final?: boolean;
  /** See {@link PortcullisError.details}. */
  readonly details?: ErrorDetails;
  /** What this error was made of: what a `fetch` or `key` of the caller's own threw is in it as it was. */
  readonly cause?: unknown;
}

/** The one error that calls of this package reject with. Its message is a sentence for people; none of ours has a key in it. */
export class PortcullisError extends Error {
  /** The stable code: decide by this. */
  readonly code: ErrorCode;
  /** The rule, budget or kill switch that refused. */
  readonly rule: string | undefined;
  /** Finds the request in the log of the gate; undefined where none was reached. */
  readonly requestId: string | undefined;
  /** How long the gate asks to wait before another try, in milliseconds. */
  readonly retryAfterMs: number | undefined;
  /** True when another try cannot help by itself: the caller, an operator or the calendar must change something. */
  readonly final: boolean;
  /** What else the gate said: amounts, and the fields at fault. */
  readonly details: ErrorDetails;

  /**
   * @param code - the stable code
   * @param message - what was wrong, in one sentence
   * @param options - the rest, where it is known
   */
  constructor(code: ErrorCode, message: string, options: PortcullisErrorOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = 'PortcullisError';
    this.code = code;
    this.rule = options.rule;
    this.requestId = options.requestId;
    this.retryAfterMs = options.retryAfterMs;
    this.final = options.final ?? false;
    this.details = options.details ?? { violations: [] };
  }

  /**
   * Makes a PortcullisError of whatever was thrown, which becomes its cause.
   * @param thrown - an error of Connect, or anything
   * @returns `thrown` itself where it is one already
   */
  static from(thrown: unknown): PortcullisError {
    if (thrown instanceof PortcullisError) return thrown;
    const error = ConnectError.from(readable(thrown));
    if (error.cause instanceof PortcullisError) return error.cause;
    const info = error.findDetails(ErrorInfoSchema)[0];
    const violations = error.findDetails(BadRequestSchema).flatMap(({ fieldViolations }) => fieldViolations);
    const options = {
      requestId: info?.requestId || (error.metadata.get('x-request-id') ?? undefined),
      retryAfterMs: info?.retryAfter ? durationMs(info.retryAfter) : retryAfterMs(error.metadata),
      rule: info?.rule,
      final: info?.final ?? false,
      details: {
        ...(info && amounts(info)),
        violations: violations.map(({ field, description }) => ({ field, description })),
      },
      cause: error.cause instanceof NoAnswer ? error.cause.cause : (error.cause ?? error),
    };
    return new PortcullisError(info?.code ?? codeOf(error), error.rawMessage, options);
  }
}

/** An error whose message is text: anything may be thrown. */
function readable(thrown: unknown): Error {
  try {
    if (thrown instanceof Error && typeof thrown.message === 'string') return thrown;
  } catch {
    // What cannot even be looked at becomes a cause as well.
  }
  return new Error(textOf(thrown), { cause: thrown });
}

/** The cause of an error of a request to which nothing, or no whole answer, came. */
export class NoAnswer extends Error {}

/** The Connect error of a request to which nothing, or no whole answer, came. */
export function noAnswer(url: string, cause: unknown): ConnectError {
  const sentence = `No whole answer came from ${new URL(url).origin}.`;
  return new ConnectError(sentence, Code.Unavailable, undefined, undefined, new NoAnswer(sentence, { cause }));
}

/** The code of an error that did not come from a gate. */
function codeOf({ code, cause }: ConnectError): ErrorCode {
  if (cause instanceof NoAnswer) return 'unreachable';
  return code === Code.Canceled ? 'cancelled' : codeToString(code);
}

/** Retry-After in seconds (RFC 9110, section 10.2.3); its other form, a date, is no gate's. */
function retryAfterMs(headers: Headers): number | undefined {
  const seconds = headers.get('retry-after') ?? '';
  return /^\d{1,9}$/.test(seconds) ? Number(seconds) * 1_000 : undefined;
}

function amounts({ param, unit, limit, observed, remaining, resetTime }: ErrorInfo): Omit<ErrorDetails, 'violations'> {
  return {
    ...(param !== undefined && { param }),
    ...(unit !== undefined && { unit }),
    ...(limit !== undefined && { limit }),
    ...(observed !== undefined && { observed }),
    ...(remaining !== undefined && { remaining }),
    ...(resetTime !== undefined && { resetTime: timestampDate(resetTime) }),
  };
}
