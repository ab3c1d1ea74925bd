import { createHash } from 'node:crypto';
import { toolCallsPerAnswerMax } from '../../base/limits.ts';
import type { Answer, AssistantBlock, ContentBlock, Conversation, Tool, ToolCallBlock, Turn } from '../conversation.ts';
import { noUsage } from '../usage.ts';
import { schemaValue } from './schema-value.ts';
import { type Step, stepOf } from './steps.ts';

/** Everything that the simulated model says begins so: nobody can take it for a model's words. */
const mark = '[simulated] ';
const bytesPerToken = 4;

/** A deterministic count of tokens: four bytes each. */
export function tokensOf(text: string): number {
  return Math.ceil(Buffer.byteLength(text) / bytesPerToken);
}

/**
 * What the simulated model answers: an echo of the newest user text; a call of each offered tool that this text asks for
 * ("use the tool NAME", "call NAME"); after tool results, what they were; instead of text a value of the JSON Schema that
 * the answer is held to. A script in the text (`steps.ts`) comes before all that. The same request gives the same answer.
 */
export function reply(conversation: Conversation, tokens: number | null, requestId: string): Answer {
  const id = createHash('sha256').update(requestId).digest('hex').slice(0, 24);
  const step = stepOf(conversation);
  const wanted = step === null ? callsAskedFor(conversation) : callsOf(step, conversation);
  const calls = wanted.map((call, n): ToolCallBlock => ({ type: 'tool_call', id: `call_${id}_${n}`, ...call }));
  const text = structured(conversation, step, calls) ?? mark + say(conversation, step, calls);
  const said = tokens === null ? text : mark + filler(tokens);
  const limited = limit([{ type: 'text', text: said }, ...calls], conversation);
  const usage = { ...noUsage, input: inputTokens(conversation), output: sum(limited.blocks.map(blockTokens)) };
  return { id: `sim_${id}`, model: conversation.model, ...limited, usage };
}

/** JSON where the caller asked for it: a mark before it would be none, and its texts say that they are simulated. */
function structured({ outputFormat }: Conversation, step: Step | null, calls: readonly ToolCallBlock[]): string | null {
  if (outputFormat === null || step !== null || calls.length > 0) return null;
  return JSON.stringify(outputFormat.schema === null ? { simulated: true } : schemaValue(outputFormat.schema));
}

function say({ turns }: Conversation, step: Step | null, calls: readonly ToolCallBlock[]): string {
  if (step?.kind === 'say') return step.text;
  if (step?.kind === 'call' && calls.length === 0) return `The script calls ${step.name}, which is not offered.`;
  if (calls.length > 0) return `Calling ${calls.map(({ name }) => name).join(', ')}.`;
  const results = newest(turns).filter((block) => block.type === 'tool_result');
  if (results.length === 0) return `You said: ${newestText(turns)}`;
  return results
    .map(({ isError, content }) => `The tool ${isError ? 'failed' : 'answered'}: ${textOf(content)}`)
    .join('\n');
}

/** Text that makes an answer of exactly `tokens` tokens, the mark included. */
function filler(tokens: number): string {
  return 'and '.repeat(tokens - tokensOf(mark));
}

type Call = Pick<ToolCallBlock, 'name' | 'argumentsJson'>;

function callsOf(step: Step, { tools, toolChoice }: Conversation): Call[] {
  const isOffered = toolChoice.mode !== 'none' && tools.some(({ name }) => step.kind === 'call' && name === step.name);
  return step.kind === 'call' && isOffered ? [{ name: step.name, argumentsJson: step.argumentsJson }] : [];
}

function callsAskedFor(conversation: Conversation): Call[] {
  const tools = chooseTools(conversation);
  const argumentsOf = new Map([...new Set(tools)].map((tool) => [tool, JSON.stringify(schemaValue(tool.schema))]));
  return tools.map((tool) => ({ name: tool.name, argumentsJson: argumentsOf.get(tool) ?? '{}' }));
}

/** The tools to call: those that the newest user text names, as the tool choice allows. */
function chooseTools({ turns, tools, toolChoice }: Conversation): Tool[] {
  if (toolChoice.mode === 'none') return [];
  if (toolChoice.mode === 'tool') return tools.filter(({ name }) => name === toolChoice.name).slice(0, 1);
  const offered = new Map(tools.map((tool) => [tool.name, tool]));
  const named = newestText(turns).matchAll(/\b(?:use the tool|call)\s+["'`]?([\w.:-]*\w)/gi);
  const found = named.map(([, name = '']) => offered.get(name)).filter((tool) => tool !== undefined);
  const asked = found.take(toolCallsPerAnswerMax).toArray();
  const chosen = asked.length === 0 && toolChoice.mode === 'required' ? tools.slice(0, 1) : asked;
  return toolChoice.parallel ? chosen : chosen.slice(0, 1);
}

/** Ends the answer at the first stop sequence, and at the caller's limit: text is cut there, a call is whole or absent. */
function limit(
  blocks: readonly AssistantBlock[],
  { stop, maxOutputTokens }: Conversation,
): Pick<Answer, 'blocks' | 'stop' | 'stopSequence'> {
  let left = maxOutputTokens ?? Infinity;
  const kept: AssistantBlock[] = [];
  for (const block of blocks) {
    const stopped = block.type === 'text' ? cutAtStop(block.text, stop) : null;
    const whole: AssistantBlock = stopped === null ? block : { type: 'text', text: stopped.text };
    if (blockTokens(whole) > left) {
      if (whole.type === 'text') kept.push({ type: 'text', text: firstBytes(whole.text, left * bytesPerToken) });
      return { blocks: kept, stop: 'length', stopSequence: null };
    }
    left -= blockTokens(whole);
    kept.push(whole);
    if (stopped !== null) return { blocks: kept, stop: 'stop_sequence', stopSequence: stopped.sequence };
  }
  return { blocks: kept, stop: kept.some(({ type }) => type === 'tool_call') ? 'tool' : 'end', stopSequence: null };
}

function cutAtStop(text: string, stop: readonly string[]): { text: string; sequence: string } | null {
  const found = stop
    .map((sequence) => ({ sequence, at: sequence === '' ? -1 : text.indexOf(sequence) }))
    .filter(({ at }) => at >= 0)
    .sort((a, b) => a.at - b.at);
  const [first] = found;
  return first === undefined ? null : { text: text.slice(0, first.at), sequence: first.sequence };
}

/** The longest start of whole characters that fits in `bytes`. */
function firstBytes(text: string, bytes: number): string {
  let size = 0;
  let end = 0;
  for (const character of text) {
    size += Buffer.byteLength(character);
    if (size > bytes) break;
    end += character.length;
  }
  return text.slice(0, end);
}

function inputTokens({ system, turns, tools }: Conversation): number {
  const text = textOf(system) + turns.map(({ blocks }) => blocks.map(inputText).join('')).join('');
  return tokensOf(text + (tools.length > 0 ? JSON.stringify(tools) : ''));
}

function inputText(block: Turn['blocks'][number]): string {
  switch (block.type) {
    case 'text':
    case 'reasoning':
      return block.text;
    case 'tool_call':
      return block.name + block.argumentsJson;
    case 'tool_result':
      return textOf(block.content);
    default:
      // What it cannot see does not count.
      return '';
  }
}

function blockTokens(block: AssistantBlock): number {
  return tokensOf(inputText(block));
}

function newest(turns: readonly Turn[]): Turn['blocks'] {
  const last = turns.findLast(({ role }) => role !== 'system');
  return last?.role === 'user' ? last.blocks : [];
}

function newestText(turns: readonly Turn[]): string {
  return textOf(newest(turns).filter((block) => block.type === 'text'));
}

function textOf(blocks: readonly ContentBlock[]): string {
  return blocks
    .filter((block) => block.type === 'text')
    .map(({ text }) => text)
    .join('\n');
}

function sum(numbers: readonly number[]): number {
  return numbers.reduce((total, each) => total + each, 0);
}
