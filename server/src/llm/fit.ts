import { outputTokensDefault } from '../base/limits.ts';
import { keepLastMarks } from './cache-marks.ts';
import type { Capabilities } from './capabilities.ts';
import {
  type AssistantBlock,
  type ContentBlock,
  type Conversation,
  type DocumentBlock,
  type JsonObject,
  type TextBlock,
  type Tool,
  type ToolChoice,
  type Turn,
  type UserBlock,
  defaultToolChoice,
} from './conversation.ts';
import type { Dialect } from './dialect.ts';
import type { Losses } from './losses.ts';
import { fitReasoning } from './reasoning.ts';
import { hasOptionalMembers } from './strict-schema.ts';
import { plainSchemas } from './tool-schema.ts';

/**
 * The conversation as a model can take it: what it cannot is refused or dropped, here and for every dialect alike, so
 * that a writer need not know what a model can.
 * @throws PortcullisError invalid_argument naming what the model does not take
 */
export function fitTo(
  conversation: Conversation,
  to: Dialect,
  capabilities: Capabilities,
  losses: Losses,
): Conversation {
  const fitted: Conversation = {
    ...conversation,
    system: withoutBlanks(conversation.system, to, losses),
    turns: fitTurns(conversation.turns, to, capabilities, losses),
    ...fitTools(conversation, to, capabilities, losses),
    ...fitSampling(conversation, to, capabilities, losses),
    maxOutputTokens: conversation.maxOutputTokens ?? limitWithoutWish(to, capabilities),
    outputFormat: fitOutputFormat(conversation, to, capabilities, losses),
  };
  const reasoned = { ...fitted, reasoning: fitReasoning(fitted, to, capabilities, losses) };
  return takesMarks(to, capabilities) ? reasoned : keepLastMarks(reasoned, 0, losses);
}

/**
 * Anthropic demands a limit, also for callers whose dialect leaves it open. A target that cannot give so much, or more,
 * says so in its `capabilities`.
 */
function limitWithoutWish(to: Dialect, { maxOutputTokens: cap }: Capabilities): number | null {
  return to === 'anthropic' ? (cap ?? outputTokensDefault) : null;
}

/** A model that caches by itself needs no marks, but for Anthropic's, which takes a word for all or marks. */
function takesMarks(to: Dialect, { promptCaching }: Capabilities): boolean {
  return promptCaching === 'explicit' || (promptCaching === 'automatic' && to === 'anthropic');
}

/** Turns that lose all they had go, and their neighbours become one: some models insist on taking turns. */
function fitTurns(turns: readonly Turn[], to: Dialect, capabilities: Capabilities, losses: Losses): Turn[] {
  const fitted: (Omit<Turn, 'blocks'> & { readonly blocks: Turn['blocks'][number][] })[] = [];
  for (const turn of turns) {
    const blocks = fitBlocks(turn, to, capabilities, losses);
    const last = fitted.at(-1);
    if (blocks.length === 0 && turn.blocks.length > 0) continue;
    // Blocks of one role go together, which the type of the list cannot say.
    if (last?.role === turn.role) for (const block of blocks) last.blocks.push(block);
    else fitted.push({ role: turn.role, blocks: [...blocks] });
  }
  return fitted as Turn[];
}

function fitBlocks(turn: Turn, to: Dialect, capabilities: Capabilities, losses: Losses): Turn['blocks'] {
  switch (turn.role) {
    case 'system':
      return withoutBlanks(turn.blocks, to, losses);
    case 'assistant':
      return withoutBlanks(turn.blocks, to, losses).filter((block) => isReadable(block, to, losses));
    default:
      return withoutBlanks(turn.blocks, to, losses).flatMap((block) => fitUserBlock(block, capabilities, losses));
  }
}

/** Anthropic refuses text of white space alone, which other models write next to their calls. */
function withoutBlanks<B extends UserBlock | AssistantBlock>(
  blocks: readonly B[],
  to: Dialect,
  losses: Losses,
): readonly B[] {
  if (to !== 'anthropic') return blocks;
  return blocks.filter((block) => {
    if (block.type !== 'text' || /\S/.test(block.text)) return true;
    losses.hint('blank_text');
    return false;
  });
}

/** Reasoning without its own provider's seal is of no use to the model, and is refused by some. */
function isReadable(block: AssistantBlock, to: Dialect, losses: Losses): boolean {
  if (block.type !== 'reasoning' || block.seal?.dialect === to) return true;
  losses.hint('reasoning');
  return false;
}

function fitUserBlock(block: UserBlock, capabilities: Capabilities, losses: Losses): UserBlock[] {
  if (block.type !== 'tool_result') return fitContent(block, capabilities, losses);
  return [{ ...block, content: block.content.flatMap((each) => fitContent(each, capabilities, losses)) }];
}

function fitContent(block: ContentBlock, { images, documents }: Capabilities, losses: Losses): ContentBlock[] {
  if (block.type === 'text' || (block.type === 'image' ? images : documents)) return [block];
  if (block.type === 'document' && block.source.kind === 'text') return asText(block, block.source.text);
  losses.drop(block.type, 'is in the conversation, and the model behind this name takes none');
  return [];
}

/** Any model can read a document of plain text. */
function asText({ title, cache }: DocumentBlock, text: string): TextBlock[] {
  if (text === '') return [];
  return [{ type: 'text', text: title === null ? text : `${title}\n\n${text}`, ...(cache && { cache }) }];
}

function fitTools(
  conversation: Conversation,
  to: Dialect,
  capabilities: Capabilities,
  losses: Losses,
): Pick<Conversation, 'tools' | 'toolChoice'> {
  if (conversation.tools.length > 0 && !capabilities.tools) {
    losses.drop('tools', 'are given, and the model behind this name calls none');
    return { tools: [], toolChoice: defaultToolChoice };
  }
  const tools =
    capabilities.toolSchemas === 'full'
      ? conversation.tools.map((tool) => withTellableStrictness(tool, to, losses))
      : withPlainSchemas(conversation.tools, losses);
  const toolChoice = fitToolChoice(conversation, losses);
  return { tools, toolChoice: { ...toolChoice, parallel: toolChoice.parallel && capabilities.parallelTools } };
}

/** No provider takes a call that is forced where no tool is left to call. */
function fitToolChoice({ tools, toolChoice }: Conversation, losses: Losses): ToolChoice {
  const { mode, parallel } = toolChoice;
  const possible = mode === 'tool' ? tools.some(({ name }) => name === toolChoice.name) : tools.length > 0;
  if (possible || mode === 'auto' || mode === 'none') return toolChoice;
  losses.drop('tool_choice', 'demands a call of a tool, and that tool is not there for the model behind this name');
  return { mode: 'auto', parallel };
}

function withPlainSchemas(tools: readonly Tool[], losses: Losses): Tool[] {
  const plain = plainSchemas(tools.map(({ schema }) => schema));
  if (plain.some(({ lost }) => lost)) losses.hint('tools.schema');
  if (tools.some(({ strict }) => strict === true)) losses.hint('tools.strict');
  return tools.map((tool, i) => ({ ...tool, schema: plain[i]?.schema ?? tool.schema, strict: null }));
}

function withTellableStrictness(tool: Tool, to: Dialect, losses: Losses): Tool {
  if (tool.strict !== true || takesStrictly(tool.schema, to)) return tool;
  losses.hint('tools.strict');
  return { ...tool, strict: false };
}

function takesStrictly(schema: JsonObject, to: Dialect): boolean {
  return to === 'anthropic' || !hasOptionalMembers(schema);
}

/** 1 is what every model does by itself. */
function fitSampling(
  { temperature, topP }: Conversation,
  to: Dialect,
  { sampling }: Capabilities,
  losses: Losses,
): Pick<Conversation, 'temperature' | 'topP'> {
  if (!sampling) {
    if (temperature !== null && temperature !== 1) {
      losses.drop('temperature', 'is not taken by the model behind this name');
    }
    if (topP !== null && topP !== 1) losses.drop('top_p', 'is not taken by the model behind this name');
    return { temperature: null, topP: null };
  }
  // Anthropic's newer models take one of them.
  if (to !== 'anthropic' || temperature === null || topP === null) return { temperature, topP };
  return topP === 1 ? { temperature, topP: null } : { temperature: temperature === 1 ? null : temperature, topP };
}

function fitOutputFormat(
  { outputFormat }: Conversation,
  to: Dialect,
  { structuredOutput }: Capabilities,
  losses: Losses,
): Conversation['outputFormat'] {
  if (outputFormat === null) return null;
  if (!structuredOutput) {
    losses.drop('output_format', 'asks for structured output, which the model behind this name does not give');
    return null;
  }
  const { schema, strict } = outputFormat;
  if (strict !== true || schema === null || takesStrictly(schema, to)) return outputFormat;
  losses.hint('output_format.strict');
  return { ...outputFormat, strict: false };
}
