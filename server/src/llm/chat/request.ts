import { stopSequencesMax } from '../../base/limits.ts';
import type { Conversation, OutputFormat, ReasoningRequest, Target } from '../conversation.ts';
import type { Losses } from '../losses.ts';
import { ObjectReader } from '../object-reader.ts';
import {
  outputLimit,
  parseEffort,
  parseServiceTier,
  parseUserName,
  parseVerbosity,
  writeSchema,
  writeServiceTier,
  writeUserName,
} from '../openai-fields.ts';
import { parseMessages, writeMessages } from './messages.ts';
import { parseTools, writeTools } from './tools.ts';

/** OpenAI refuses a fifth stop sequence. */
const openAiStopsMax = 4;

/**
 * Reads a Chat Completions request.
 * @throws PortcullisError invalid_argument naming the field: malformed, or not translatable (see `Losses`).
 */
export function parseRequest(json: unknown, losses: Losses): Conversation {
  const body = new ObjectReader(json, '', losses);
  refuseFunctions(body);
  const conversation: Conversation = {
    model: body.string('model'),
    ...parseMessages(body, losses),
    ...parseTools(body, losses),
    temperature: body.optionalNumber('temperature'),
    topP: body.optionalNumber('top_p'),
    stop: parseStop(body),
    maxOutputTokens: parseOutputLimit(body),
    reasoning: parseReasoningEffort(body),
    outputFormat: parseOutputFormat(body, losses),
    verbosity: parseVerbosity(body),
    serviceTier: parseServiceTier(body, losses),
    stream: body.optionalBoolean('stream') ?? false,
    streamUsage: parseStreamUsage(body),
    user: parseUserName(body),
  };
  leaveOut(body, losses);
  body.close();
  return conversation;
}

/** OpenAI's older way to offer tools: translating it would make answers that its callers cannot read. */
function refuseFunctions(body: ObjectReader): void {
  if (body.list('functions').length > 0) throw body.malformed('functions', 'left out: send "tools", which replaced it');
  const choice = body.any('function_call');
  if (choice !== undefined && choice !== 'none' && choice !== 'auto') {
    throw body.malformed('function_call', 'left out: send "tool_choice", which replaced it');
  }
}

/** The fields that may stay behind: those with the value that the other side has anyway, and those that are mere hints. */
function leaveOut(body: ObjectReader, losses: Losses): void {
  body.neutral('n', 1);
  body.neutral('logprobs', false);
  body.neutral('top_logprobs', 0);
  body.neutral('frequency_penalty', 0);
  body.neutral('presence_penalty', 0);
  body.neutral('store', false);
  body.neutral('modalities', ['text']);
  body.hint('metadata');
  body.hint('prediction');
  body.hint('prompt_cache_key');
  body.hint('prompt_cache_options');
  body.hint('prompt_cache_retention');
  // An empty object asks for the search with all its defaults.
  if (body.any('web_search_options') !== undefined) losses.drop(body.path('web_search_options'));
}

function parseStop(body: ObjectReader): string[] {
  const stop = body.any('stop');
  return typeof stop === 'string' ? [stop] : body.strings('stop', stopSequencesMax);
}

/** The older `max_tokens` and its successor mean the same. */
function parseOutputLimit(body: ObjectReader): number | null {
  const older = body.optionalPositiveInteger('max_tokens');
  const newer = body.optionalPositiveInteger('max_completion_tokens');
  if (older !== null && newer !== null && older !== newer) {
    throw body.malformed('max_tokens', 'left out where "max_completion_tokens" says otherwise');
  }
  return newer ?? older;
}

function parseReasoningEffort(body: ObjectReader): ReasoningRequest | null {
  const effort = parseEffort(body, 'reasoning_effort');
  return effort === null ? null : { effort, budgetTokens: null, show: null };
}

function parseOutputFormat(body: ObjectReader, losses: Losses): OutputFormat | null {
  const format = body.child('response_format');
  if (format === null) return null;
  const type = format.string('type');
  switch (type) {
    case 'text':
      format.close();
      return null;
    case 'json_object':
      format.close();
      return { name: null, description: null, schema: null, strict: null };
    case 'json_schema': {
      const schema = format.child('json_schema');
      if (schema === null) throw format.malformed('json_schema', 'a JSON object');
      const parsed: OutputFormat = {
        name: schema.string('name'),
        description: schema.optionalString('description'),
        schema: schema.optionalObject('schema'),
        strict: schema.optionalBoolean('strict'),
      };
      schema.close();
      format.close();
      return parsed;
    }
    default:
      losses.drop('response_format', `is of type "${type}", which has no counterpart on the other side`);
      return null;
  }
}

function parseStreamUsage(body: ObjectReader): boolean {
  const options = body.child('stream_options');
  const include = options?.optionalBoolean('include_usage') ?? false;
  options?.neutral('include_obfuscation', false);
  options?.hint('include_obfuscation');
  options?.close();
  return include;
}

/**
 * Writes a Chat Completions request for `target`. Usage is always asked for in a stream. The output limit is what the
 * caller asked for, but no more than the target gives.
 * @throws PortcullisError invalid_argument naming what this dialect cannot express.
 */
export function writeRequest(conversation: Conversation, target: Target, losses: Losses): string {
  const { temperature, topP, stop, verbosity, stream, user } = conversation;
  const limit = outputLimit(conversation, target);
  return JSON.stringify({
    model: target.model,
    messages: writeMessages(conversation, losses),
    ...writeTools(conversation, losses),
    ...(temperature !== null && { temperature }),
    ...(topP !== null && { top_p: topP }),
    ...(stop.length > 0 && { stop: writeStop(stop, target, losses) }),
    ...(limit !== null && { max_completion_tokens: limit }),
    ...(limit !== null && target.bothOutputLimits && { max_tokens: limit }),
    ...writeReasoningEffort(conversation, losses),
    ...writeOutputFormat(conversation),
    ...(target.commonFieldsOnly
      ? leaveUncommon(conversation, losses)
      : {
          ...(verbosity !== null && { verbosity }),
          ...writeServiceTier(conversation),
          ...(user !== null && { user: writeUserName(user) }),
        }),
    ...(stream && { stream, stream_options: { include_usage: true } }),
  });
}

function writeStop(stop: readonly string[], { fourStopsOnly }: Target, losses: Losses): readonly string[] {
  if (!fourStopsOnly || stop.length <= openAiStopsMax) return stop;
  losses.drop('stop', `has more than ${openAiStopsMax} sequences, the most that the model behind this name takes`);
  return stop.slice(0, openAiStopsMax);
}

/** What does not change the meaning of the answer; the usual tier is what there is without a word. */
function leaveUncommon({ verbosity, user }: Conversation, losses: Losses): object {
  if (verbosity !== null) losses.hint('verbosity');
  if (user !== null) losses.hint('user');
  return {};
}

/** This dialect knows no budget, and no word on whether the reasoning is shown. */
function writeReasoningEffort({ reasoning }: Conversation, losses: Losses): { reasoning_effort?: string } {
  if (reasoning === null) return {};
  if (reasoning.show === false || (reasoning.effort === null && reasoning.budgetTokens !== null)) {
    losses.hint('reasoning');
  }
  return reasoning.effort === null ? {} : { reasoning_effort: reasoning.effort };
}

function writeOutputFormat({ outputFormat }: Conversation): { response_format?: unknown } {
  if (outputFormat === null) return {};
  if (outputFormat.schema === null) return { response_format: { type: 'json_object' } };
  return { response_format: { type: 'json_schema', json_schema: writeSchema(outputFormat) } };
}
