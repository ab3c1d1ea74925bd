import { timestampDate, type Timestamp } from '@bufbuild/protobuf/wkt';
import { type Attempt, AttemptOutcomeSchema, ProvenanceSchema } from '../../gen/portcullis/v1/analytics_pb.ts';
import { enumWord } from '../enum-words.ts';
import { type CsvCell, number, text, usd } from './csv-cell.ts';

const time = (at: Timestamp | undefined): CsvCell =>
  at === undefined ? null : { text: timestampDate(at).toISOString() };

/** The columns of `usage export --format csv`: one row of the ledger each, corrections among them. */
export const attemptColumns: readonly (readonly [string, (attempt: Attempt) => CsvCell])[] = [
  ['start_time', (attempt) => time(attempt.startTime)],
  ['attempt_id', (attempt) => text(attempt.id)],
  ['request_id', (attempt) => text(attempt.requestId)],
  ['corrects', (attempt) => text(attempt.corrects)],
  ['project_id', (attempt) => text(attempt.projectId)],
  ['agent_id', (attempt) => text(attempt.agentId)],
  ['person_id', (attempt) => text(attempt.personId)],
  ['key_id', (attempt) => text(attempt.keyId)],
  ['run_id', (attempt) => text(attempt.runId)],
  ['workflow', (attempt) => text(attempt.workflow)],
  ['client_session', (attempt) => text(attempt.clientSession)],
  ['route', (attempt) => text(attempt.route)],
  ['provider', (attempt) => text(attempt.provider)],
  ['model_asked', (attempt) => text(attempt.modelAsked)],
  ['model_served', (attempt) => text(attempt.modelServed)],
  ['input_tokens', (attempt) => number(attempt.inputTokens)],
  ['output_tokens', (attempt) => number(attempt.outputTokens)],
  ['cache_read_tokens', (attempt) => number(attempt.cacheReadTokens)],
  ['cache_write_5m_tokens', (attempt) => number(attempt.cacheWrite5mTokens)],
  ['cache_write_1h_tokens', (attempt) => number(attempt.cacheWrite1hTokens)],
  ['reasoning_tokens', (attempt) => number(attempt.reasoningTokens)],
  ['cost_usd', (attempt) => usd(attempt.costNanousd)],
  ['notional_usd', (attempt) => usd(attempt.notionalNanousd)],
  ['provenance', (attempt) => text(enumWord(ProvenanceSchema, attempt.provenance))],
  ['outcome', (attempt) => text(enumWord(AttemptOutcomeSchema, attempt.outcome))],
  ['error_class', (attempt) => text(attempt.errorClass)],
  ['rule', (attempt) => text(attempt.rule)],
  ['price_version', (attempt) => text(attempt.priceVersion)],
  ['total_ms', (attempt) => number(attempt.totalMs)],
  ['overrun', (attempt) => text(String(attempt.overrun))],
  ['record_time', (attempt) => time(attempt.recordTime)],
];
