import type { Conversation, OutputFormat, ReasoningRequest, Target } from '../conversation.ts';
import type { Losses } from '../losses.ts';
import { ObjectReader } from '../object-reader.ts';
import {
  outputLimit,
  parseEffort,
  parseServiceTier,
  parseUserName,
  parseVerbosity,
  renamedString,
  writeSchema,
  writeServiceTier,
  writeUserName,
} from '../openai-fields.ts';
import { parseInput, writeInputItems } from './input.ts';
import { parseTools, parseToolChoice, writeToolChoice, writeTools } from './tools.ts';

/** The one thing to include that is the gate's to give. */
const encryptedReasoning = 'reasoning.encrypted_content';
const includesMax = 16;

/**
 * Reads a request for a response. What refers to stored state was refused before (`facts.ts`).
 */
export function parseRequest(json: unknown, losses: Losses): Conversation {
  const body = new ObjectReader(json, '', losses);
  const conversation: Conversation = {
    model: body.string('model'),
    ...parseInput(body, losses),
    ...parseToolChoice(body, parseTools(body, losses), losses),
    temperature: body.optionalNumber('temperature'),
    topP: body.optionalNumber('top_p'),
    stop: [],
    maxOutputTokens: body.optionalPositiveInteger('max_output_tokens'),
    reasoning: parseReasoningRequest(body),
    ...parseText(body),
    serviceTier: parseServiceTier(body, losses),
    stream: body.optionalBoolean('stream') ?? false,
    streamUsage: true,
    user: parseUserName(body),
  };
  parseInclude(body, losses);
  parseCacheOptions(body);
  leaveOut(body);
  body.close();
  return conversation;
}

/** The fields that may stay behind: those with the value that the other side has anyway, and those that are mere hints. */
function leaveOut(body: ObjectReader): void {
  body.neutral('store', false);
  body.neutral('background', false);
  body.neutral('top_logprobs', 0);
  // How an overflow of the context is met, not what is answered.
  if (body.any('truncation') !== 'disabled') body.hint('truncation');
  // Bounds tools that the provider runs, and there are none elsewhere.
  body.hint('max_tool_calls');
  body.hint('metadata');
  body.hint('client_metadata');
  body.hint('stream_options');
  body.hint('prompt_cache_key');
  body.hint('prompt_cache_retention');
  body.hint('image');
}

function parseReasoningRequest(body: ObjectReader): ReasoningRequest | null {
  const reasoning = body.child('reasoning');
  if (reasoning === null) return null;
  const effort = parseEffort(reasoning, 'effort');
  const summary = renamedString(reasoning, 'summary', 'generate_summary');
  // Elsewhere there is no word for its length.
  if (summary === 'concise' || summary === 'detailed') {
    reasoning.hint('summary');
    reasoning.hint('generate_summary');
  } else if (summary !== null && summary !== 'auto') {
    throw reasoning.malformed('summary', '"auto", "concise" or "detailed"');
  }
  reasoning.neutral('mode', 'standard');
  reasoning.hint('context');
  reasoning.close();
  const show = summary === null ? null : true;
  return effort === null && show === null ? null : { effort, budgetTokens: null, show };
}

function parseText(body: ObjectReader): Pick<Conversation, 'outputFormat' | 'verbosity'> {
  const text = body.child('text');
  const verbosity = text && parseVerbosity(text);
  const outputFormat = parseFormat(text?.child('format') ?? null);
  text?.close();
  return { outputFormat, verbosity };
}

function parseFormat(format: ObjectReader | null): OutputFormat | null {
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
      const parsed: OutputFormat = {
        name: format.optionalString('name'),
        description: format.optionalString('description'),
        schema: format.optionalObject('schema'),
        strict: format.optionalBoolean('strict'),
      };
      if (parsed.schema === null) throw format.malformed('schema', 'a JSON Schema');
      format.close();
      return parsed;
    }
    default:
      throw format.malformed('type', '"text", "json_object" or "json_schema"');
  }
}

/** Encrypted reasoning is always there. What else can be included is of tools and settings that only OpenAI has. */
function parseInclude(body: ObjectReader, losses: Losses): void {
  for (const [i, name] of body.strings('include', includesMax).entries()) {
    if (name !== encryptedReasoning)
      losses.drop(`include[${i}]`, `is "${name}", which has no counterpart on the other side`);
  }
}

/** Where a prefix ends that is to be cached, parts say by themselves. */
function parseCacheOptions(body: ObjectReader): void {
  const options = body.child('prompt_cache_options');
  options?.hint('mode');
  options?.hint('ttl');
  options?.neutral('prewarm', false);
  options?.close();
}

/**
 * Writes a request for a response, of which the provider is to store nothing. Its reasoning is asked for in encrypted
 * form, so that it can come back with the conversation.
 */
export function writeRequest(conversation: Conversation, target: Target, losses: Losses): string {
  const { temperature, topP, stop, tools, toolChoice, stream, user } = conversation;
  const limit = outputLimit(conversation, target);
  if (stop.length > 0) losses.drop('stop', 'has no counterpart in the Responses API');
  return JSON.stringify({
    model: target.model,
    input: writeInputItems(conversation, losses),
    ...(tools.length > 0 && { tools: writeTools(tools) }),
    ...(tools.length > 0 && toolChoice.mode !== 'auto' && { tool_choice: writeToolChoice(toolChoice, tools) }),
    ...(tools.length > 0 && !toolChoice.parallel && { parallel_tool_calls: false }),
    ...writeReasoningRequest(conversation.reasoning),
    ...(target.capabilities.reasoning !== 'none' && { include: [encryptedReasoning] }),
    ...writeText(conversation),
    ...(temperature !== null && { temperature }),
    ...(topP !== null && { top_p: topP }),
    ...(limit !== null && { max_output_tokens: limit }),
    ...writeServiceTier(conversation),
    ...(user !== null && { safety_identifier: writeUserName(user) }),
    store: false,
    ...(stream && { stream }),
  });
}

/** Without a word of it nothing is shown. */
export function writeReasoningRequest(reasoning: ReasoningRequest | null): { reasoning?: object } {
  const { effort = null, show = null } = reasoning ?? {};
  if (effort === null && show !== true) return {};
  return { reasoning: { ...(effort !== null && { effort }), ...(show && { summary: 'auto' }) } };
}

export function writeText({ outputFormat, verbosity }: Conversation): { text?: object } {
  if (outputFormat === null && verbosity === null) return {};
  return {
    text: {
      ...(outputFormat !== null && {
        format:
          outputFormat.schema === null
            ? { type: 'json_object' }
            : { type: 'json_schema', ...writeSchema(outputFormat) },
      }),
      ...(verbosity !== null && { verbosity }),
    },
  };
}
