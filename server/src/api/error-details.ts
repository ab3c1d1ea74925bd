import type { DescMessage, MessageInitShape } from '@bufbuild/protobuf';
import { durationFromMs, timestampFromDate } from '@bufbuild/protobuf/wkt';
import type { FieldViolation, PortcullisError } from '../base/errors.ts';
import {
  BadRequestSchema,
  ErrorInfoSchema as RpcErrorInfoSchema,
  QuotaFailureSchema,
  RequestInfoSchema,
  RetryInfoSchema,
} from '../gen/google/rpc/error_details_pb.ts';
import { ErrorInfoSchema } from '../gen/portcullis/v1/error_pb.ts';

interface Detail {
  readonly desc: DescMessage;
  readonly value: MessageInitShape<DescMessage>;
}

/** What goes with an error besides its sentence: our own detail, and those that stock clients understand (google.rpc). */
export function errorDetails(error: PortcullisError, requestId: string): Detail[] {
  const { retryAfterS, resetsAt, ...texts } = error.members;
  const retryAfter = retryAfterS === undefined ? undefined : durationFromMs(Math.ceil(retryAfterS * 1000));
  const details = [
    detail(ErrorInfoSchema, {
      code: error.code,
      requestId,
      final: error.final,
      ...(retryAfter && { retryAfter }),
      ...(resetsAt !== undefined && { resetTime: timestampFromDate(new Date(resetsAt)) }),
      ...texts,
    }),
    detail(RpcErrorInfoSchema, { reason: error.code.toUpperCase(), domain: 'portcullis', metadata: { ...texts } }),
    detail(RequestInfoSchema, { requestId }),
  ];
  if (retryAfter) details.push(detail(RetryInfoSchema, { retryDelay: retryAfter }));
  if (error.code === 'rate_limited' || error.code === 'budget_exceeded') {
    const violation = { subject: texts.rule ?? error.code, description: error.message };
    details.push(detail(QuotaFailureSchema, { violations: [violation] }));
  }
  const fieldViolations = violationsOf(error);
  if (fieldViolations.length > 0) details.push(detail(BadRequestSchema, { fieldViolations }));
  return details;
}

function violationsOf({ violations, members, message }: PortcullisError): FieldViolation[] {
  if (violations.length > 0 || members.param === undefined) return [...violations];
  return [{ field: members.param, description: message }];
}

function detail<T extends DescMessage>(desc: T, value: MessageInitShape<T>): Detail {
  return { desc, value };
}
