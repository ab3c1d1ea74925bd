import type { AccessRecord } from '../base/access-record.ts';
import { userAgentCharsMax } from '../base/limits.ts';
import { type Logger, scrub } from '../base/log.ts';

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
  // The logger leaves out what is undefined.
  const fields = {
    request_id: record.requestId,
    project: record.projectId ?? undefined,
    agent: record.agentId ?? undefined,
    run_id: record.runId ?? undefined,
    sub: record.subject ?? undefined,
    key_id: record.keyId ?? undefined,
    jti: record.jti ?? undefined,
    aud: record.audience ?? undefined,
    auth_method: record.authMethod ?? undefined,
    auth_reason: record.authReason ?? undefined,
    method: line.method,
    path: line.route,
    status: line.status,
    latency_ms: Math.round(line.latencyMs * 100) / 100,
    bytes_in: record.bytesIn,
    bytes_out: record.bytesOut,
    ip: line.address,
    user_agent: scrub(line.userAgent.slice(0, userAgentCharsMax)),
    model: record.model === null ? undefined : scrub(record.model),
    decision: record.decision ?? undefined,
    code: record.code ?? undefined,
    rule: record.rule ?? undefined,
    internal: record.internal === null ? undefined : scrub(record.internal),
  };
  if (line.status >= 500) log.error(fields, 'request');
  else if (line.status >= 400) log.warn(fields, 'request');
  else log.info(fields, 'request');
}
