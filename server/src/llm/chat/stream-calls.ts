import { toolArgumentsCharsMax, toolCallsPerAnswerMax } from '../../base/limits.ts';
import { ArgumentsProgress } from '../arguments-progress.ts';
import type { Seal } from '../conversation.ts';
import type { Losses } from '../losses.ts';
import type { ObjectReader } from '../object-reader.ts';
import type { StreamEvent } from '../stream-events.ts';
import { readExtras } from './call-extras.ts';
import { callId, parseArgumentsText } from './response.ts';

/** A tool call on its way. `index` is its canonical one. */
interface Call {
  readonly index: number;
  /** Given by the server; else it is ours, and gives way to one that comes before the call is told on. */
  idGiven: boolean;
  id: string;
  name: string;
  readonly arguments: ArgumentsProgress;
  /** `held`: not told on yet, since more of its name may come. */
  state: 'held' | 'open' | 'closed';
}

/** The tool calls of one stream: one accumulator per call, however its server tells the calls apart. */
export class StreamCalls {
  readonly #losses: Losses;
  /** The calls in order of appearance, and by the `index` under which their parts come. */
  readonly #calls: Call[] = [];
  readonly #byWireIndex = new Map<number, Call>();
  #heldChars = 0;

  constructor(losses: Losses) {
    this.#losses = losses;
  }

  get any(): boolean {
    return this.#calls.length > 0;
  }

  get allComplete(): boolean {
    return this.#calls.every(isComplete);
  }

  /** Takes a part of a call. `begin` makes room for a new call and gives its canonical index. */
  *part(part: ObjectReader, begin: () => Iterable<StreamEvent>, nextIndex: () => number): Iterable<StreamEvent> {
    const fn = part.child('function');
    const name = fn?.optionalString('name') ?? '';
    let call = this.#find(part, name);
    if (call === null) {
      yield* begin();
      for (const { seal } of readExtras(part)) yield* sealed(nextIndex(), seal);
      call = this.#remember(part, name, nextIndex());
    } else if (call.state === 'held') {
      // Names come whole or in pieces; the whole name once more is no piece.
      if (name !== call.name) call.name += name;
      this.#adoptId(call, part);
    }
    const json = fn === null ? '' : parseArgumentsText(fn);
    if (json !== '') yield* this.#addArguments(call, json, part);
  }

  /** Something else begins: calls whose arguments are whole are over. Others may go on beside it. */
  *settle(): Iterable<StreamEvent> {
    for (const call of this.#calls) {
      yield* this.#tell(call);
      if (isComplete(call)) yield* this.#close(call);
    }
  }

  *closeAll(): Iterable<StreamEvent> {
    for (const call of this.#calls) {
      yield* this.#tell(call);
      yield* this.#close(call);
    }
  }

  /**
   * The call that a part belongs to, or null when the part begins one. By the book `index` says so. Some servers leave
   * it out, or send 0 for every call: then a new id tells the calls apart, or a name after a complete call, or another
   * name.
   */
  #find(part: ObjectReader, name: string): Call | null {
    const wireIndex = part.optionalNumber('index');
    const id = part.optionalString('id') || null;
    const call =
      wireIndex === null
        ? this.#calls.findLast((each) => id === null || each.id === id)
        : this.#byWireIndex.get(wireIndex);
    if (call === undefined) return null;
    if (name === '') return call;
    if (id !== null) return id === call.id || (!call.idGiven && call.state === 'held') ? call : null;
    const mayBePiece = wireIndex !== null && call.state === 'held';
    return isComplete(call) || (name !== call.name && !mayBePiece) ? null : call;
  }

  #remember(part: ObjectReader, name: string, index: number): Call {
    if (this.#calls.length === toolCallsPerAnswerMax) {
      throw part.malformed('index', `one of at most ${toolCallsPerAnswerMax} tool calls`);
    }
    const idGiven = Boolean(part.optionalString('id'));
    const call: Call = { index, idGiven, id: callId(part), name, arguments: new ArgumentsProgress(), state: 'held' };
    const wireIndex = part.optionalNumber('index');
    this.#calls.push(call);
    if (wireIndex !== null) this.#byWireIndex.set(wireIndex, call);
    return call;
  }

  #adoptId(call: Call, part: ObjectReader): void {
    const id = part.optionalString('id') || null;
    if (call.idGiven || id === null) return;
    call.id = id;
    call.idGiven = true;
  }

  *#addArguments(call: Call, json: string, part: ObjectReader): Iterable<StreamEvent> {
    if (call.state === 'closed') {
      if (json.trim() === '') return;
      throw part.malformed('function.arguments', 'left out once the call is complete');
    }
    yield* this.#tell(call);
    this.#heldChars += json.length;
    if (this.#heldChars > toolArgumentsCharsMax) {
      throw part.malformed('function.arguments', `at most ${toolArgumentsCharsMax} characters in open calls`);
    }
    call.arguments.add(json);
    yield { type: 'arguments_delta', index: call.index, json };
  }

  *#tell(call: Call): Iterable<StreamEvent> {
    if (call.state !== 'held') return;
    const { index, id, name } = call;
    if (name === '') throw this.#losses.malformed('tool_calls.function.name', 'a string that is not empty');
    call.state = 'open';
    yield { type: 'block_start', index, block: { kind: 'tool_call', id, name } };
  }

  *#close(call: Call): Iterable<StreamEvent> {
    if (call.state === 'closed') return;
    call.state = 'closed';
    this.#heldChars -= call.arguments.chars;
    call.arguments.clear();
    yield { type: 'block_stop', index: call.index };
  }
}

/** A block of reasoning that has nothing but its seal. */
function* sealed(index: number, seal: Seal | null): Iterable<StreamEvent> {
  yield { type: 'block_start', index, block: { kind: 'reasoning' } };
  if (seal !== null) yield { type: 'seal', index, seal };
  yield { type: 'block_stop', index };
}

function isComplete(call: Call): boolean {
  return call.state === 'closed' || call.arguments.whole;
}
