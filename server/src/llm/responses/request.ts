import { createHash } from 'node:crypto';
import type { Conversation, OutputFormat, ReasoningRequest, Target } from '../conversation.ts';
import { reasoningEfforts } from '../conversation.ts';
import type { Losses } from '../losses.ts';
import { ObjectReader } from '../object-reader.ts';
import { parseInput, writeInputItems } from './input.ts';
import { parseTools, parseToolChoice, writeToolChoice, writeTools } from './tools.ts';

/** OpenAI refuses longer names of users. */
const userCharsMax = 64;

/** The one thing to include that is the gate's to give. */
const encryptedReasoning = 'reasoning.encrypted_content';
const includesMax = 16;

/** Where OpenAI demands a name for a schema and the caller's dialect has none. */
const formatName = 'output';

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
  const said = reasoning.optionalString('effort');
  const effort = reasoningEfforts.find((each) => each === said) ?? null;
  if (said !== null && effort === null) throw reasoning.malformed('effort', `one of ${reasoningEfforts.join(', ')}`);
  // The older name of `summary`.
  const summary = reasoning.optionalString('summary') ?? reasoning.optionalString('generate_summary');
  reasoning.any('generate_summary');
  reasoning.neutral('mode', 'standard');
  reasoning.hint('context');
  reasoning.close();
  const show = summary === null ? null : true;
  return effort === null && show === null ? null : { effort, budgetTokens: null, show };
}

function parseText(body: ObjectReader): Pick<Conversation, 'outputFormat' | 'verbosity'> {
  const text = body.child('text');
  const verbosities = ['low', 'medium', 'high'] as const;
  const said = text?.optionalString('verbosity') ?? null;
  const verbosity = verbosities.find((each) => each === said) ?? null;
  if (said !== null && verbosity === null) throw body.malformed('text.verbosity', `one of ${verbosities.join(', ')}`);
  const outputFormat = parseFormat(text?.child('format') ?? null);
  text?.close();
  return { outputFormat, verbosity };
}

function parseFormat(format: ObjectReader | null): OutputFormat | null {
  if (format === null) return null;
  const type = format.string('type');
  const parsed: OutputFormat = {
    name: format.optionalString('name'),
    description: format.optionalString('description'),
    schema: format.optionalObject('schema'),
    strict: format.optionalBoolean('strict'),
  };
  format.close();
  switch (type) {
    case 'text':
      return null;
    case 'json_object':
      return { ...parsed, schema: null };
    case 'json_schema':
      if (parsed.schema === null) throw format.malformed('schema', 'a JSON Schema');
      return parsed;
    default:
      throw format.malformed('type', '"text", "json_object" or "json_schema"');
  }
}

function parseServiceTier(body: ObjectReader, losses: Losses): Conversation['serviceTier'] {
  const tier = body.optionalString('service_tier');
  if (tier === null || tier === 'auto') return tier;
  if (tier === 'default') return 'standard';
  losses.drop('service_tier', `asks for "${tier}", which has no counterpart on the other side`);
  return null;
}

/** `user` is the older name of `safety_identifier`. */
function parseUserName(body: ObjectReader): string | null {
  const older = body.optionalString('user');
  return body.optionalString('safety_identifier') ?? older;
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
  const { temperature, topP, stop, tools, toolChoice, stream, user, serviceTier } = conversation;
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
    ...(serviceTier !== null && { service_tier: serviceTier === 'standard' ? 'default' : serviceTier }),
    ...(user !== null && { safety_identifier: writeUserName(user) }),
    store: false,
    ...(stream && { stream }),
  });
}

function outputLimit({ maxOutputTokens: asked }: Conversation, { capabilities }: Target): number | null {
  const cap = capabilities.maxOutputTokens;
  return asked !== null && cap !== null ? Math.min(asked, cap) : asked;
}

export function writeReasoningRequest(reasoning: ReasoningRequest | null): { reasoning?: object } {
  const { effort = null, show = null } = reasoning ?? {};
  if (effort === null && show !== true) return {};
  return { reasoning: { ...(effort !== null && { effort }), ...(show && { summary: 'auto' }) } };
}

export function writeText({ outputFormat, verbosity }: Conversation): { text?: object } {
  if (outputFormat === null && verbosity === null) return {};
  return {
    text: {
      ...(outputFormat !== null && { format: writeFormat(outputFormat) }),
      ...(verbosity !== null && { verbosity }),
    },
  };
}

function writeFormat({ name, description, schema, strict }: OutputFormat): object {
  if (schema === null) return { type: 'json_object' };
  return {
    type: 'json_schema',
    name: name ?? formatName,
    ...(description !== null && { description }),
    schema,
    ...(strict !== null && { strict }),
  };
}

/** An identifier that is too long goes as its SHA-256 (64 hex digits): as opaque, as stable, as distinct. */
function writeUserName(user: string): string {
  return user.length <= userCharsMax ? user : createHash('sha256').update(user).digest('hex');
}
