import { PortcullisError } from '../../base/errors.ts';
import { outputTokensDefault } from '../../base/limits.ts';
import { countMarks, keepLastMarks } from '../cache-marks.ts';
import type { Conversation, JsonObject, Target, Tool } from '../conversation.ts';
import type { Losses } from '../losses.ts';
import { writeMark, writeTexts, writeTurns } from './block-writer.ts';
import { writeThinking } from './thinking.ts';

/** More than so many marks are refused. */
const cacheMarksMax = 4;

/**
 * Writes a Messages request for `target`. `max_tokens` is what the caller asked for, but no more than the target gives.
 *
 * A conversation that goes on writes the same bytes for its earlier part, so that the provider finds it in its cache:
 * everything stays in its order, and a message looks the same wherever it stands. Only a mark may be elsewhere.
 * @throws PortcullisError invalid_argument naming what this dialect cannot express.
 */
export function writeRequest(conversation: Conversation, target: Target, losses: Losses): string {
  const { system, turns, tools, temperature, topP, stop, serviceTier, stream, user } = keepLastMarks(
    conversation,
    cacheMarksMax,
    losses,
  );
  const messages = writeTurns(turns, losses);
  if (messages.length === 0) {
    throw new PortcullisError(
      'invalid_argument',
      '"messages" needs at least one message that is not a system prompt.',
      { param: 'messages' },
    );
  }
  // How long the text of an answer is to be, no other word says.
  if (conversation.verbosity !== null && conversation.verbosity !== 'medium') losses.hint('verbosity');
  return JSON.stringify({
    model: target.model,
    max_tokens: maxTokens(conversation, target),
    ...(tools.length > 0 && { tools: tools.map(writeTool) }),
    ...(system.length > 0 && { system: writeTexts(system) }),
    messages,
    ...writeAutomaticCaching(conversation, target),
    ...writeToolChoice(conversation),
    ...writeOutput(conversation, losses),
    ...(temperature !== null && temperatureFits(temperature, losses) && { temperature }),
    ...(topP !== null && { top_p: topP }),
    ...(stop.length > 0 && { stop_sequences: stop.filter((sequence) => stopFits(sequence, losses)) }),
    ...(serviceTier !== null && { service_tier: serviceTier === 'auto' ? 'auto' : 'standard_only' }),
    ...(user !== null && { metadata: { user_id: user } }),
    ...(stream && { stream }),
  });
}

/** `fit.ts` gives every conversation for this dialect a limit. */
function maxTokens({ maxOutputTokens: asked }: Conversation, { capabilities }: Target): number {
  const { maxOutputTokens: cap } = capabilities;
  return Math.min(asked ?? cap ?? outputTokensDefault, cap ?? Infinity);
}

/** One word for the whole request: the vendor then marks the last block itself. */
function writeAutomaticCaching(
  conversation: Conversation,
  { capabilities }: Target,
): { readonly cache_control?: JsonObject } {
  if (capabilities.promptCaching !== 'automatic' || countMarks(conversation) > 0) return {};
  return writeMark({ cache: { lifetime: 'usual' } });
}

function writeTool({ name, description, schema, strict, cache }: Tool): JsonObject {
  return {
    name,
    ...(description !== null && { description }),
    input_schema: schema,
    ...(strict !== null && { strict }),
    ...writeMark({ cache }),
  };
}

function writeToolChoice({ toolChoice, tools }: Conversation): { readonly tool_choice?: JsonObject } {
  const serial = !toolChoice.parallel && { disable_parallel_tool_use: true };
  switch (toolChoice.mode) {
    case 'auto':
      return toolChoice.parallel || tools.length === 0 ? {} : { tool_choice: { type: 'auto', ...serial } };
    case 'none':
      return tools.length === 0 ? {} : { tool_choice: { type: 'none' } };
    case 'required':
      return { tool_choice: { type: 'any', ...serial } };
    default:
      return { tool_choice: { type: 'tool', name: toolChoice.name, ...serial } };
  }
}

function writeOutput(conversation: Conversation, losses: Losses): JsonObject {
  const { thinking, effort } = writeThinking(conversation.reasoning);
  const format = writeFormat(conversation, losses);
  const output = { ...(effort !== undefined && { effort }), ...(format !== null && { format }) };
  return {
    ...(thinking !== undefined && { thinking }),
    ...(Object.keys(output).length > 0 && { output_config: output }),
  };
}

function writeFormat({ outputFormat }: Conversation, losses: Losses): JsonObject | null {
  if (outputFormat === null) return null;
  const { schema, description } = outputFormat;
  if (schema === null) {
    losses.drop('output_format', 'asks for any JSON object, and the model behind this name needs a JSON Schema for it');
    return null;
  }
  if (description !== null) losses.hint('output_format.description');
  return { type: 'json_schema', schema };
}

function temperatureFits(temperature: number, losses: Losses): boolean {
  if (temperature <= 1) return true;
  losses.drop('temperature', 'is above 1, the highest that the model behind this name takes');
  return false;
}

function stopFits(sequence: string, losses: Losses): boolean {
  if (/\S/.test(sequence)) return true;
  losses.drop('stop', 'has a sequence of white space alone, which the model behind this name does not take');
  return false;
}
