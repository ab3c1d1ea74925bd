import { eventsIn } from './sse-text.ts';
import { type ContentBlock, type StreamContent, insist } from './stream-content.ts';

/**
 * Checks a stream of Messages events against the vendor's description ("Streaming messages"), written without a look at
 * the encoder: message_start, then blocks one after the other, each a start, deltas of its type and a stop, then one
 * message_delta and message_stop; pings anywhere; an error event ends everything.
 */
export function readAnthropicStream(text: string): StreamContent {
  const blocks: ContentBlock[] = [];
  let phase: 'new' | 'message' | 'block' | 'delta' | 'stopped' | 'failed' = 'new';
  let stop: string | null = null;
  let usage: unknown = null;
  for (const { event, data } of eventsIn(text)) {
    const json = JSON.parse(data);
    insist(json.type === event, `${event} carries ${json.type}`);
    insist(phase !== 'stopped' && phase !== 'failed', `${event} after the end`);
    const block = blocks.at(-1);
    switch (event) {
      case 'ping':
        break;
      case 'error':
        insist(typeof json.error.type === 'string' && typeof json.error.message === 'string', 'an error without text');
        phase = 'failed';
        break;
      case 'message_start':
        insist(phase === 'new', 'a second message_start');
        insist(json.message.type === 'message' && json.message.role === 'assistant', 'not a message');
        insist(json.message.content.length === 0 && json.message.stop_reason === null, 'a start with content');
        insist(Number.isInteger(json.message.usage.input_tokens), 'no usage at the start');
        phase = 'message';
        break;
      case 'content_block_start':
        insist(phase === 'message', `a block opens in phase ${phase}`);
        insist(json.index === blocks.length, `block ${json.index} after ${blocks.length} blocks`);
        blocks.push(opened(json.content_block));
        phase = 'block';
        break;
      case 'content_block_delta':
        insist(
          phase === 'block' && json.index === blocks.length - 1 && block !== undefined,
          'a delta outside its block',
        );
        if (block.type === 'text') {
          insist(json.delta.type === 'text_delta', `${json.delta.type} in a text block`);
          block.text += json.delta.text;
        } else {
          insist(json.delta.type === 'input_json_delta', `${json.delta.type} in a tool call`);
          block.argumentsJson += json.delta.partial_json;
        }
        break;
      case 'content_block_stop':
        insist(
          phase === 'block' && json.index === blocks.length - 1 && block !== undefined,
          'a stop outside its block',
        );
        block.closed = true;
        phase = 'message';
        break;
      case 'message_delta':
        insist(phase === 'message', `message_delta in phase ${phase}`);
        insist(legalStops.has(json.delta.stop_reason), `stop_reason ${json.delta.stop_reason}`);
        stop = json.delta.stop_reason;
        usage = json.usage;
        phase = 'delta';
        break;
      case 'message_stop':
        insist(phase === 'delta', `message_stop in phase ${phase}`);
        phase = 'stopped';
        break;
      default:
        insist(false, `an unknown event ${event}`);
    }
  }
  return { blocks, ending: phase === 'stopped' ? 'finished' : phase === 'failed' ? 'failed' : 'open', stop, usage };
}

const legalStops = new Set([
  'end_turn',
  'max_tokens',
  'stop_sequence',
  'tool_use',
  'pause_turn',
  'refusal',
  'model_context_window_exceeded',
]);

function opened(block: { type: string; id: string; name: string; input: unknown; text: string }): ContentBlock {
  if (block.type === 'text') {
    insist(block.text === '', 'a text block that starts with text');
    return { type: 'text', text: '', closed: false };
  }
  insist(block.type === 'tool_use' && block.id !== '' && block.name !== '', 'a tool call without id or name');
  insist(JSON.stringify(block.input) === '{}', 'a tool call that starts with input');
  return { type: 'tool_call', id: block.id, name: block.name, argumentsJson: '', closed: false };
}
