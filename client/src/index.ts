/**
 * Client of a Portcullis gate: typed calls of its control API, and runs for orchestrators.
 * @packageDocumentation
 */
export * from './gen/portcullis/v1/agent_pb.ts';
export * from './gen/portcullis/v1/analytics_pb.ts';
export * from './gen/portcullis/v1/budget_pb.ts';
export * from './gen/portcullis/v1/error_pb.ts';
export * from './gen/portcullis/v1/export_pb.ts';
export * from './gen/portcullis/v1/journal_pb.ts';
export * from './gen/portcullis/v1/leaderboard_pb.ts';
export * from './gen/portcullis/v1/options_pb.ts';
export * from './gen/portcullis/v1/policy_document_pb.ts';
export * from './gen/portcullis/v1/policy_pb.ts';
export * from './gen/portcullis/v1/project_pb.ts';
export * from './gen/portcullis/v1/reconciliation_pb.ts';
export * from './gen/portcullis/v1/retention_pb.ts';
export * from './gen/portcullis/v1/run_event_pb.ts';
export * from './gen/portcullis/v1/run_pb.ts';
export * from './gen/portcullis/v1/system_pb.ts';
export * from './gen/portcullis/v1/telemetry_summary_pb.ts';
export {
  type ErrorCode,
  type ErrorDetails,
  type FieldViolation,
  PortcullisError,
  type PortcullisErrorOptions,
} from './errors.ts';
export type { RunEventOptions } from './event.ts';
export { createPortcullis, type Portcullis, type PortcullisOptions } from './portcullis.ts';
export { type ActiveRun, type RunOptions, type RunResult, withRun } from './run.ts';
export type { CallOptions, ServiceClient } from './service-client.ts';
export type { KeySource } from './transport.ts';
