import type { PortcullisError } from '../../base/errors.ts';
import {
  errorBody as anthropicErrorBody,
  streamErrorEvent as anthropicErrorEvent,
} from '../../llm/anthropic/errors.ts';
import { readFacts as anthropicFacts } from '../../llm/anthropic/facts.ts';
import { modelList as anthropicModels } from '../../llm/anthropic/models.ts';
import { createUsageWatcher as anthropicWatcher, readUsage as anthropicUsage } from '../../llm/anthropic/usage.ts';
import { errorBody as chatErrorBody, streamErrorEvent as chatErrorEvent } from '../../llm/chat/errors.ts';
import { readFacts as chatFacts } from '../../llm/chat/facts.ts';
import { modelList as chatModels } from '../../llm/chat/models.ts';
import { createUsageWatcher as chatWatcher, readUsage as chatUsage } from '../../llm/chat/usage.ts';
import type { Dialect } from '../../llm/dialect.ts';
import {
  errorBody as responsesErrorBody,
  streamErrorEvent as responsesErrorEvent,
} from '../../llm/responses/errors.ts';
import { readFacts as responsesFacts } from '../../llm/responses/facts.ts';
import { createUsageWatcher as responsesWatcher, readUsage as responsesUsage } from '../../llm/responses/usage.ts';

/** What the pipeline needs of a dialect, whichever it is. */
export const wire = {
  anthropic: {
    readFacts: anthropicFacts,
    readUsage: anthropicUsage,
    createUsageWatcher: anthropicWatcher,
    errorBody: anthropicErrorBody,
    streamErrorEvent: anthropicErrorEvent,
    modelList: anthropicModels,
  },
  chat: {
    readFacts: chatFacts,
    readUsage: chatUsage,
    createUsageWatcher: chatWatcher,
    errorBody: chatErrorBody,
    streamErrorEvent: chatErrorEvent,
    modelList: chatModels,
  },
  responses: {
    readFacts: responsesFacts,
    readUsage: responsesUsage,
    createUsageWatcher: responsesWatcher,
    errorBody: responsesErrorBody,
    streamErrorEvent: responsesErrorEvent,
    modelList: chatModels,
  },
} as const satisfies Record<Dialect, unknown>;

/** Every answer has X-Request-ID; Anthropic's SDKs read the id from another header. */
export function requestIdHeader(dialect: Dialect, requestId: string): Record<string, string> {
  return dialect === 'anthropic' ? { 'request-id': requestId } : {};
}

/** Writes a refusal in the caller's dialect. */
export function refusalAnswer(
  dialect: Dialect,
  error: PortcullisError,
  requestId: string,
): { headers: Record<string, string>; body: string } {
  const body = wire[dialect].errorBody(error, requestId);
  const headers = {
    'content-type': 'application/json',
    'content-length': String(Buffer.byteLength(body)),
    'x-content-type-options': 'nosniff',
    ...requestIdHeader(dialect, requestId),
  };
  return { headers, body };
}
