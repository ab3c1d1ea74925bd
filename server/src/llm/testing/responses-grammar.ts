import { sealFromText } from '../seal.ts';
import { eventsIn } from './sse-text.ts';
import { type ContentBlock, type StreamContent, insist } from './stream-content.ts';

/**
 * Checks a stream of a response against the vendor's description ("Streaming events"), written without a look at the
 * encoder: events named by their type and numbered without gaps; response.created and response.in_progress first;
 * an item is added at the next index, has parts, deltas in an open part, and is done with what its deltas spelled out;
 * then one response.completed or response.incomplete with all items; response.failed or error ends everything.
 */
export function readResponsesStream(text: string): StreamContent {
  const stream = new ResponseStream();
  for (const { event, data } of eventsIn(text)) stream.take(event, JSON.parse(data));
  return stream.content();
}

// Whatever was emitted is looked at member by member.
// oxlint-disable-next-line typescript/no-explicit-any
type Json = any;

interface Item {
  readonly added: Json;
  readonly index: number;
  /** What is said in its open part, or as its input. */
  said: string;
  part: 'none' | 'open' | 'text done' | 'done';
  done: Json;
}

const responseMembers = [
  'access_programs',
  'created_at',
  'error',
  'incomplete_details',
  'instructions',
  'metadata',
  'model',
  'output',
  'parallel_tool_calls',
  'temperature',
  'tool_choice',
  'tools',
  'top_p',
];

class ResponseStream {
  readonly #items: Item[] = [];
  readonly #ids = new Set<string>();
  #phase: 'new' | 'created' | 'open' | 'ended' | 'failed' = 'new';
  #next = 0;
  #id: string | null = null;
  #final: Json = null;

  take(name: string, event: Json): void {
    insist(event.type === name, `${name} carries ${event.type}`);
    insist(this.#phase !== 'ended' && this.#phase !== 'failed', `${name} after the end`);
    insist(event.sequence_number === this.#next, `${name} is number ${event.sequence_number}, not ${this.#next}`);
    this.#next++;
    if (event.response !== undefined) this.#checkResponse(name, event.response);
    switch (name) {
      case 'error':
        insist(typeof event.message === 'string', 'an error without text');
        this.#phase = 'failed';
        break;
      case 'response.failed':
        insist(event.response.status === 'failed', `a failed response is ${event.response.status}`);
        insist(typeof event.response.error?.code === 'string', 'a failure without a code');
        insist(typeof event.response.error.message === 'string', 'a failure without text');
        this.#phase = 'failed';
        break;
      case 'response.created':
        insist(this.#phase === 'new' && event.response.output.length === 0, 'a second beginning');
        this.#phase = 'created';
        break;
      case 'response.in_progress':
        insist(this.#phase === 'created', `in progress in phase ${this.#phase}`);
        this.#phase = 'open';
        break;
      case 'response.completed':
      case 'response.incomplete':
        this.#end(name, event.response);
        break;
      default:
        insist(this.#phase === 'open', `${name} in phase ${this.#phase}`);
        this.#takeItem(name, event);
    }
  }

  content(): StreamContent {
    const ending = this.#phase === 'ended' ? 'finished' : this.#phase === 'failed' ? 'failed' : 'open';
    const stop = this.#final?.incomplete_details?.reason ?? this.#final?.status ?? null;
    return { blocks: this.#items.map(blockOf), ending, stop, usage: this.#final?.usage ?? null };
  }

  #checkResponse(name: string, response: Json): void {
    insist(response.object === 'response' && typeof response.id === 'string' && response.id !== '', 'not a response');
    insist(this.#id === null || response.id === this.#id, `${name} has another id`);
    this.#id = response.id;
    const working = name === 'response.created' || name === 'response.in_progress';
    insist(working === (response.status === 'in_progress'), `${name} has status ${response.status}`);
    if (name === 'response.failed') return;
    for (const member of responseMembers) insist(member in response, `${name} lacks ${member}`);
    insist(Number.isInteger(response.created_at), 'a time that is no number of seconds');
  }

  #takeItem(name: string, event: Json): void {
    if (name === 'response.output_item.added') return this.#add(event);
    const item = this.#items[event.output_index];
    insist(item !== undefined && item.done === null, `${name} outside an open item`);
    if (name === 'response.output_item.done') return finish(item, event.item);
    insist(event.item_id === item.added.id, `${name} names another item`);
    const { type } = item.added;
    const step = steps[name];
    insist(step !== undefined && step.type === type, `${name} in an item of type ${type}`);
    insist(step.part === undefined || event[step.part] === 0, `${name} in part ${event[step.part ?? '']}`);
    step.take(item, event);
  }

  #add({ output_index: index, item }: Json): void {
    insist(index === this.#items.length, `item ${index} after ${this.#items.length} items`);
    insist(typeof item.id === 'string' && item.id !== '' && !this.#ids.has(item.id), `an item's id ${item.id}`);
    this.#ids.add(item.id);
    const empty = { message: 'content', reasoning: 'summary', function_call: 'arguments', custom_tool_call: 'input' };
    insist(Object.hasOwn(empty, item.type), `an item of type ${item.type}`);
    insist(item[empty[item.type as keyof typeof empty]]?.length === 0, 'an item that begins with content');
    insist(item.type === 'reasoning' || item.status === 'in_progress', `a new item is ${item.status}`);
    if (item.type.endsWith('_call')) insist(Boolean(item.call_id) && Boolean(item.name), 'a call without id or name');
    this.#items.push({ added: item, index, said: '', part: 'none', done: null });
  }

  #end(name: string, response: Json): void {
    insist(this.#phase === 'open', `${name} in phase ${this.#phase}`);
    insist(`response.${response.status}` === name, `${name} has status ${response.status}`);
    insist((response.status === 'incomplete') === (response.incomplete_details !== null), 'incomplete, but not why');
    insist(response.error === null, 'a response that did not fail has an error');
    const done = this.#items.map((item) => item.done);
    insist(!done.includes(null), 'an item is still open');
    insist(JSON.stringify(response.output) === JSON.stringify(done), 'the output is not what its items were');
    this.#final = response;
    this.#phase = 'ended';
  }
}

/** What an event does to the item that it is of. */
interface Step {
  readonly type: string;
  /** The member that counts the item's parts. */
  readonly part?: string;
  take(item: Item, event: Json): void;
}

function partSteps(type: string, part: string, names: Readonly<Record<'added' | 'delta' | 'text' | 'done', string>>) {
  const steps: Record<string, Step> = {
    [names.added]: {
      type,
      part,
      take(item, event) {
        insist(item.part === 'none' && event.part.text === '', 'a part that begins twice, or with text');
        item.part = 'open';
      },
    },
    [names.delta]: {
      type,
      part,
      take(item, event) {
        insist(item.part === 'open', 'a delta outside an open part');
        insist(typeof event.delta === 'string' && event.delta !== '', 'a delta without text');
        item.said += event.delta;
      },
    },
    [names.text]: {
      type,
      part,
      take(item, event) {
        insist(item.part === 'open' && event.text === item.said, 'a text that its deltas did not spell out');
        item.part = 'text done';
      },
    },
    [names.done]: {
      type,
      part,
      take(item, event) {
        insist(item.part === 'text done' && event.part.text === item.said, 'a part that its deltas did not spell out');
        item.part = 'done';
      },
    },
  };
  return steps;
}

function inputSteps(type: string, member: 'arguments' | 'input', name: string): Record<string, Step> {
  return {
    [`${name}.delta`]: {
      type,
      take(item, event) {
        insist(item.part === 'none' && typeof event.delta === 'string' && event.delta !== '', 'a delta out of place');
        item.said += event.delta;
      },
    },
    [`${name}.done`]: {
      type,
      take(item, event) {
        insist(item.part === 'none' && event[member] === item.said, 'an input that its deltas did not spell out');
        item.part = 'done';
      },
    },
  };
}

const steps: Readonly<Record<string, Step>> = {
  ...partSteps('message', 'content_index', {
    added: 'response.content_part.added',
    delta: 'response.output_text.delta',
    text: 'response.output_text.done',
    done: 'response.content_part.done',
  }),
  ...partSteps('reasoning', 'summary_index', {
    added: 'response.reasoning_summary_part.added',
    delta: 'response.reasoning_summary_text.delta',
    text: 'response.reasoning_summary_text.done',
    done: 'response.reasoning_summary_part.done',
  }),
  ...inputSteps('function_call', 'arguments', 'response.function_call_arguments'),
  ...inputSteps('custom_tool_call', 'input', 'response.custom_tool_call_input'),
};

function finish(item: Item, done: Json): void {
  const { added } = item;
  insist(done.id === added.id && done.type === added.type, 'an item that ends as another');
  insist(done.call_id === added.call_id && done.name === added.name, 'a call that ends as another');
  // Hidden reasoning has no part to show.
  insist(
    item.part === 'done' || (added.type === 'reasoning' && item.part === 'none'),
    `done with its part ${item.part}`,
  );
  insist(added.type === 'reasoning' || done.status === 'completed', `a finished item is ${done.status}`);
  insist(textOf(done) === item.said, 'an item that its deltas did not spell out');
  for (const part of done.type === 'message' ? done.content : []) {
    insist(part.type === 'output_text' && Array.isArray(part.annotations), 'a part that is no text');
  }
  item.done = done;
}

function textOf(item: Json): string {
  if (item.type === 'message') return item.content.map((part: Json) => part.text).join('');
  if (item.type === 'reasoning') return item.summary.map((part: Json) => part.text).join('');
  return item.type === 'function_call' ? item.arguments : item.input;
}

function blockOf({ added, said, done }: Item): ContentBlock {
  const closed = done !== null;
  switch (added.type) {
    case 'message':
      return { type: 'text', text: said, closed };
    case 'reasoning':
      return { type: 'reasoning', text: said, seal: sealFromText(done?.encrypted_content ?? ''), closed };
    default: {
      const argumentsJson = added.type === 'function_call' ? said : JSON.stringify({ input: said });
      return { type: 'tool_call', id: added.call_id, name: added.name, argumentsJson, closed };
    }
  }
}
