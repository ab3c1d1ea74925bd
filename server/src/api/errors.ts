import type { DescMethod } from '@bufbuild/protobuf';
import { Code, ConnectError, type ContextValues, type Interceptor } from '@connectrpc/connect';
import { DatabaseError } from 'pg';
import type { AccessRecord } from '../base/access-record.ts';
import { type ErrorCode, PortcullisError } from '../base/errors.ts';
import type { Logger } from '../base/log.ts';
import { refusalHeaders } from '../base/refusal-headers.ts';
import type { RefusalAudit } from '../identity/refusal-audit.ts';
import { isUnavailable } from '../pg/errors.ts';
import { accessRecordKey, principalKey } from './context.ts';
import { errorDetails } from './error-details.ts';

/** The gRPC status of each stable code; over HTTP Connect makes the status of it. */
const statuses: Readonly<Record<ErrorCode, Code>> = {
  invalid_argument: Code.InvalidArgument,
  context_length_exceeded: Code.InvalidArgument,
  unauthenticated: Code.Unauthenticated,
  insufficient_scope: Code.PermissionDenied,
  policy_denied: Code.PermissionDenied,
  origin_denied: Code.PermissionDenied,
  not_found: Code.NotFound,
  conflict: Code.AlreadyExists,
  in_progress: Code.Aborted,
  payload_too_large: Code.ResourceExhausted,
  misdirected: Code.InvalidArgument,
  idempotency_mismatch: Code.InvalidArgument,
  rate_limited: Code.ResourceExhausted,
  budget_exceeded: Code.ResourceExhausted,
  client_closed: Code.Canceled,
  internal: Code.Internal,
  upstream_error: Code.Unavailable,
  unavailable: Code.Unavailable,
  cannot_verify: Code.Unavailable,
  killed: Code.Unavailable,
  deadline_exceeded: Code.DeadlineExceeded,
};

/** The error in Connect's shape, with its details. Nothing internal goes with it. */
function connectError(error: PortcullisError, requestId: string): ConnectError {
  return new ConnectError(error.message, statuses[error.code], refusalHeaders(error), errorDetails(error, requestId));
}

/** Makes the answer of whatever was thrown, and tells access record, audit and log what the caller is not told. */
export class Refusals {
  readonly #log: Logger;
  readonly #audit: RefusalAudit;

  constructor(log: Logger, audit: RefusalAudit) {
    this.#log = log;
    this.#audit = audit;
  }

  answer(thrown: unknown, method: DescMethod, values: ContextValues): ConnectError {
    const error = classify(thrown);
    const record = values.get(accessRecordKey);
    const requestId = record?.requestId ?? '';
    if (record) note(record, error);
    if (error.code === 'internal') this.#log.error({ err: thrown, request_id: requestId }, 'internal error');
    const principal = values.get(principalKey);
    if (principal && error.code === 'insufficient_scope') {
      this.#audit.note('scope.denied', principal, `${method.parent.typeName}.${method.name}`, requestId);
    }
    if (principal && error.code === 'policy_denied') {
      this.#audit.note('call.denied', principal, error.members.rule ?? error.code, requestId);
    }
    return connectError(error, requestId);
  }

  /** Around each handler. */
  readonly interceptor: Interceptor = (next) => async (request) => {
    // The one message of a request that is answered with a stream is read in here: Connect says what is wrong with it.
    const refused = (thrown: unknown) =>
      request.stream && thrown instanceof ConnectError
        ? thrown
        : this.answer(thrown, request.method, request.contextValues);
    try {
      const answer = await next(request);
      return answer.stream ? { ...answer, message: streamed(answer.message, refused) } : answer;
    } catch (thrown) {
      throw refused(thrown);
    }
  };
}

/** A handler's messages, with its refusal in their place. What went wrong with writing one is no refusal. */
async function* streamed<T>(messages: AsyncIterable<T>, refused: (thrown: unknown) => ConnectError): AsyncGenerator<T> {
  let isBeingWritten = false;
  try {
    for await (const message of messages) {
      isBeingWritten = true;
      yield message;
      isBeingWritten = false;
    }
  } catch (thrown) {
    throw isBeingWritten ? thrown : refused(thrown);
  }
}

function note(record: AccessRecord, error: PortcullisError): void {
  record.decision = 'deny';
  record.code = error.code;
  record.rule = error.members.rule ?? null;
  record.internal = error.internal ?? null;
}

function classify(thrown: unknown): PortcullisError {
  if (thrown instanceof PortcullisError) return thrown;
  const internal = thrown instanceof Error ? thrown.message : String(thrown);
  if (isUnavailable(thrown)) {
    return new PortcullisError('unavailable', 'The database does not answer in time: try again shortly.', {
      internal,
      cause: thrown,
      retryAfterS: 1,
    });
  }
  // character_not_in_repertoire: the only text of a caller that gets so far and that PostgreSQL cannot hold.
  if (thrown instanceof DatabaseError && thrown.code === '22021') {
    return new PortcullisError('invalid_argument', 'A text in the request contains a zero byte.', {
      internal,
      cause: thrown,
    });
  }
  return PortcullisError.from(thrown);
}
