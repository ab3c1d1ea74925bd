import type { AccessRecord } from '../base/access-record.ts';
import type { Logger } from '../base/log.ts';

export interface AccessLine {
  readonly record: AccessRecord;
  readonly method: string;
  /** The route's pattern, never the raw path: bounded, and free of what a caller put there. */
  readonly route: string;
  readonly status: number;
  readonly latencyMs: number;
  readonly address: string;
  readonly userAgent: string;
}

/** Writes one line a request. No bodies, prompts or credentials; failures at `warn`, faults of ours at `error`. */
export function writeAccessLine(log: Logger, line: AccessLine): void {
  const { record } = line;
  const fields: Record<string, unknown> = {
    request_id: record.requestId,
    project: record.projectId,
    agent: record.agentId,
    run_id: record.runId,
    sub: record.subject,
    key_id: record.keyId,
    jti: record.jti,
    aud: record.audience,
    auth_method: record.authMethod,
    auth_reason: record.authReason,
    method: line.method,
    path: line.route,
    status: line.status,
    latency_ms: Math.round(line.latencyMs * 100) / 100,
    bytes_in: record.bytesIn,
    bytes_out: record.bytesOut,
    ip: line.address,
    user_agent: line.userAgent,
    model: record.model,
    decision: record.decision,
    code: record.code,
    rule: record.rule,
    internal: record.internal,
  };
  for (const [name, value] of Object.entries(fields)) if (value === null) delete fields[name];
  if (line.status >= 500) log.error(fields, 'request');
  else if (line.status >= 400) log.warn(fields, 'request');
  else log.info(fields, 'request');
}
