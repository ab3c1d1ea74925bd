import type { ErrorCode } from './errors.ts';

/**
 * What the access log says of one request. The HTTP layer makes it and writes it when the connection is done with the
 * request; each step in between fills in what it came to know. Attribution goes as far as the credential was verified.
 */
export interface AccessRecord {
  requestId: string;
  projectId: string | null;
  agentId: string | null;
  runId: string | null;
  subject: string | null;
  keyId: string | null;
  jti: string | null;
  audience: readonly string[] | null;
  authMethod: string | null;
  /** Why a credential was refused: for the log, never for the caller. */
  authReason: string | null;
  bytesIn: number;
  bytesOut: number;
  model: string | null;
  decision: 'allow' | 'deny' | null;
  /** The code of the refusal or failure, and the rule, budget or kill switch behind it. */
  code: ErrorCode | null;
  rule: string | null;
  /** For the log only. */
  internal: string | null;
}

export function newAccessRecord(requestId: string): AccessRecord {
  return {
    requestId,
    projectId: null,
    agentId: null,
    runId: null,
    subject: null,
    keyId: null,
    jti: null,
    audience: null,
    authMethod: null,
    authReason: null,
    bytesIn: 0,
    bytesOut: 0,
    model: null,
    decision: null,
    code: null,
    rule: null,
    internal: null,
  };
}
