import { signatureSeal } from '../anthropic/thinking.ts';
import { sealFromText } from '../seal.ts';
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
        grow(block, json.delta);
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

function opened(block: Record<string, unknown>): ContentBlock {
  switch (block['type']) {
    case 'text':
      insist(block['text'] === '', 'a text block that starts with text');
      return { type: 'text', text: '', closed: false };
    case 'thinking':
      insist(block['thinking'] === '' && block['signature'] === '', 'a thinking block that starts with thinking');
      return { type: 'reasoning', text: '', seal: null, closed: false };
    case 'tool_use': {
      const { id, name } = block;
      insist(typeof id === 'string' && id !== '', 'a tool call without id');
      insist(typeof name === 'string' && name !== '', 'a tool call without name');
      insist(JSON.stringify(block['input']) === '{}', 'a tool call that starts with input');
      return { type: 'tool_call', id, name, argumentsJson: '', closed: false };
    }
    default:
      throw new Error(`illegal stream: a block of type ${String(block['type'])}`);
  }
}

function grow(block: ContentBlock, delta: { type: string; [member: string]: unknown }): void {
  const { type } = delta;
  const piece = (member: string) => {
    const value = delta[member];
    insist(typeof value === 'string', `${type} without ${member}`);
    return value;
  };
  switch (block.type) {
    case 'text':
      insist(type === 'text_delta', `${type} in a text block`);
      block.text += piece('text');
      break;
    case 'reasoning':
      insist(block.seal === null, `${type} after the signature`);
      if (type === 'signature_delta') {
        const signature = piece('signature');
        block.seal = sealFromText(signature) ?? signatureSeal(signature);
        break;
      }
      insist(type === 'thinking_delta', `${type} in a thinking block`);
      block.text += piece('thinking');
      break;
    default:
      insist(type === 'input_json_delta', `${type} in a tool call`);
      block.argumentsJson += piece('partial_json');
  }
}
