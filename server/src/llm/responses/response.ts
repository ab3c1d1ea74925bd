import type { Answer, AnswerContext, AssistantBlock, StopReason } from '../conversation.ts';
import { freeformArguments } from '../freeform-tools.ts';
import type { Losses } from '../losses.ts';
import { ObjectReader } from '../object-reader.ts';
import { providerError } from '../provider-error.ts';
import { ItemWriter } from './output-items.ts';
import { parseReasoning } from './reasoning-item.ts';
import { ResponseWriter, ending } from './response-writer.ts';
import { qualifiedName } from './tools.ts';
import { readUsage } from './usage.ts';

/** @throws PortcullisError upstream_error when the answer is no finished response, or holds what cannot be translated. */
export function parseAnswer(json: unknown, losses: Losses): Answer {
  const response = new ObjectReader(json, '', losses);
  let refused = false;
  const blocks: AssistantBlock[] = [];
  for (const [i, each] of response.list('output').entries()) {
    const item = parseItem(new ObjectReader(each, `output[${i}]`, losses), losses);
    for (const block of item.blocks) blocks.push(block);
    refused ||= item.refused;
  }
  return {
    id: response.optionalString('id') ?? '',
    model: response.optionalString('model') ?? '',
    blocks,
    stop: parseStop(response, { called: blocks.some(({ type }) => type === 'tool_call'), refused }, losses),
    stopSequence: null,
    usage: readUsage(json),
  };
}

/** What one item of the output says. @throws PortcullisError upstream_error */
export function parseItem(item: ObjectReader, losses: Losses): { blocks: AssistantBlock[]; refused: boolean } {
  const type = item.string('type');
  switch (type) {
    case 'message':
      return parseMessage(item, losses);
    case 'reasoning':
      return { blocks: [parseReasoning(item, losses)], refused: false };
    case 'function_call':
    case 'custom_tool_call':
      return { blocks: [parseCall(item, type)], refused: false };
    default:
      losses.drop(`output.${type}`, 'is an item that nobody asked for');
      return { blocks: [], refused: false };
  }
}

function parseMessage(item: ObjectReader, losses: Losses): { blocks: AssistantBlock[]; refused: boolean } {
  const parts = item.list('content').map((json, i) => new ObjectReader(json, item.path(`content[${i}]`), losses));
  const blocks = parts.flatMap((part): AssistantBlock[] => {
    const type = part.string('type');
    if (type !== 'output_text' && type !== 'refusal') {
      losses.drop(part.path('type'), `is "${type}", which is content that nobody asked for`);
      return [];
    }
    const text = part.optionalString(type === 'refusal' ? 'refusal' : 'text') ?? '';
    part.hint('annotations');
    part.hint('logprobs');
    return text === '' ? [] : [{ type: 'text', text }];
  });
  return { blocks, refused: parts.some((part) => part.any('type') === 'refusal') };
}

/** The call as a block; its input is not known yet where a stream begins it. */
export function parseCall(
  item: ObjectReader,
  type: 'function_call' | 'custom_tool_call',
): AssistantBlock & { type: 'tool_call' } {
  const name = qualifiedName(item.optionalString('namespace'), item.string('name'));
  const argumentsJson =
    type === 'function_call'
      ? (item.optionalString('arguments') ?? '')
      : freeformArguments(item.optionalString('input') ?? '');
  return { type: 'tool_call', id: item.string('call_id'), name, argumentsJson };
}

/**
 * Reads why a response ended. `status` is what else is known of that, where it does not say.
 * @throws PortcullisError what the provider says of a failed one; upstream_error for one that did not end
 */
export function parseStop(
  response: ObjectReader,
  seen: { readonly called: boolean; readonly refused: boolean; readonly status?: 'completed' | 'incomplete' },
  losses: Losses,
): StopReason {
  switch (response.optionalString('status') ?? seen.status ?? 'completed') {
    case 'completed':
      return seen.refused ? 'refusal' : seen.called ? 'tool' : 'end';
    case 'incomplete':
      return response.child('incomplete_details')?.optionalString('reason') === 'content_filter' ? 'refusal' : 'length';
    case 'failed':
      throw providerError('responses', response.any('error'));
    default:
      throw losses.malformed('status', '"completed", "incomplete" or "failed"');
  }
}

export function writeAnswer(answer: Answer, context: AnswerContext): string {
  const items = new ItemWriter(answer.id, context.request);
  const output = answer.blocks.map((block, i) => items.item(block, i, 'completed'));
  return new ResponseWriter(context).write(answer, { ...ending(answer.stop), output, usage: answer.usage });
}
