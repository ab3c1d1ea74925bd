import { type Dialect, dialects } from '../../server/src/llm/dialect.ts';
import { type Answer, type Asked, compose } from '../support/mock-upstream/answer.ts';
import type { Block } from '../support/mock-upstream/script.ts';
import { Random } from './random.ts';
import { type Side, sideOf, sides } from './sides.ts';

export const faults = [
  'none',
  'cut',
  'stall',
  'malformed',
  'error_event',
  'http_error',
  'client_abort',
  'kill_switch',
] as const;
export type Fault = (typeof faults)[number];

/** What happens in one run, all of it decided by the seed and the number of the run. */
export interface Plan {
  readonly run: number;
  readonly seed: number;
  readonly dialectIn: Dialect;
  readonly dialectOut: Dialect;
  readonly fault: Fault;
  /** Only the first attempt meets the fault. */
  readonly mends: boolean;
  readonly wantsUsage: boolean;
  readonly model: string;
}

/** What the upstream does, step by step. */
export type Step =
  | { readonly do: 'wait'; readonly ms: number }
  | { readonly do: 'refuse'; readonly status: number; readonly body: string }
  | { readonly do: 'head' }
  | { readonly do: 'write'; readonly bytes: Buffer }
  /** The moment of the client's leaving, or of the kill switch. */
  | { readonly do: 'trigger' }
  | { readonly do: 'stall' }
  | { readonly do: 'cut' }
  | { readonly do: 'end' };

export interface Performance {
  readonly answer: Answer;
  /** The fault comes after all of the answer. */
  readonly told: boolean;
  readonly steps: readonly Step[];
}

/** Longer than the gate's keep-alive interval in these runs, shorter than its deadlines. */
const slowMs = 160;

export function planOf(seed: number, run: number): Plan {
  const random = Random.of(seed, run);
  const names = dialects.filter((dialect) => sides.has(dialect)) as [Dialect, ...Dialect[]];
  const dialectOut = random.pick(names);
  return {
    run,
    seed,
    dialectIn: random.pick(names),
    dialectOut,
    fault: random.pick(faults),
    mends: random.chance(0.4),
    wantsUsage: random.chance(0.5),
    model: `${dialectOut}-${run}`,
  };
}

/** What the upstream says to this request, which is the nth attempt of the run, and how it breaks. */
export function perform(planned: Plan, asked: Asked, attempt: number): Performance {
  const plan: Plan = planned.mends && attempt > 1 ? { ...planned, fault: 'none' } : planned;
  const random = Random.of(plan.seed ^ 0x5bd1e995, plan.run);
  const side = sideOf(plan.dialectOut);
  const answer = compose(asked, { blocks: blocks(random), ...stop(random) }, plan.run, 400);
  const steps = new Steps(random);
  steps.slowly();
  if (plan.fault === 'http_error') {
    const status = random.pick([400, 403, 404, 413, 422, 429, 500, 503]);
    const body = side.upstream.error(status, 'The upstream was told to refuse.', `req_${plan.run}`);
    return { answer, told: false, steps: steps.add({ do: 'refuse', status, body }).all };
  }
  const events = side.upstream.events(answer, asked).map(({ text }) => text);
  // The moment of the fault: before this event, or after the last one.
  const at = random.int(0, events.length - (plan.fault === 'malformed' ? 1 : 0));
  if (at > 0 || random.chance(0.5)) {
    steps.add({ do: 'head' });
    steps.slowly();
  }
  breakAt(plan, at, { events, random, side, steps });
  return { answer, told: at === events.length, steps: steps.all };
}

interface Making {
  readonly events: readonly string[];
  readonly random: Random;
  readonly side: Side;
  readonly steps: Steps;
}

function breakAt({ fault }: Plan, at: number, { events, random, side, steps }: Making): void {
  const [before, broken = '', after] = [events.slice(0, at), events[at], events.slice(at)];
  switch (fault) {
    case 'cut':
    case 'stall': {
      // In the middle of an event, often enough.
      const part = Buffer.from(broken).subarray(0, random.chance(0.5) ? random.int(0, Buffer.byteLength(broken)) : 0);
      steps.write([...before.map((text) => Buffer.from(text)), part]);
      if (fault === 'stall') steps.add({ do: 'stall' });
      else steps.add({ do: random.chance(0.7) ? 'cut' : 'end' });
      return;
    }
    case 'malformed':
      steps.write([...before, damaged(broken, random), ...events.slice(at + 1)].map((text) => Buffer.from(text)));
      steps.add({ do: 'end' });
      return;
    case 'error_event': {
      const more = random.chance(0.3) ? after : [];
      const error = side.errorEvent('The upstream was told to fail.', at);
      steps.write([...before, error, ...more].map((text) => Buffer.from(text)));
      steps.add({ do: 'end' });
      return;
    }
    case 'client_abort':
    case 'kill_switch':
      steps.write(before.map((text) => Buffer.from(text)));
      steps.add({ do: 'trigger' });
      if (random.chance(0.5)) {
        steps.add({ do: 'stall' });
        return;
      }
      steps.write(after.map((text) => Buffer.from(text)));
      steps.add({ do: 'end' });
      return;
    default:
      steps.write(events.map((text) => Buffer.from(text)));
      steps.add({ do: 'end' });
  }
}

/** Steps with the noise that is legal: signs of life, other line ends, bytes cut anywhere, pauses. */
class Steps {
  readonly all: Step[] = [];
  readonly #random: Random;
  readonly #lineEnd: '\n' | '\r\n';
  readonly #manner: 'events' | 'pieces' | 'crumbs' | 'lump';

  constructor(random: Random) {
    this.#random = random;
    this.#lineEnd = random.chance(0.2) ? '\r\n' : '\n';
    this.#manner = random.pick(['events', 'pieces', 'crumbs', 'lump']);
  }

  add(step: Step): this {
    this.all.push(step);
    return this;
  }

  slowly(): void {
    if (this.#random.chance(0.04)) this.add({ do: 'wait', ms: slowMs });
  }

  write(events: readonly Buffer[]): void {
    const noisy = events.flatMap((bytes) =>
      this.#random.chance(0.05) ? [Buffer.from(': working\n\n'), bytes] : [bytes],
    );
    const lines = noisy.map((bytes) =>
      this.#lineEnd === '\n' ? bytes : Buffer.from(bytes.toString('latin1').replaceAll('\n', '\r\n'), 'latin1'),
    );
    if (this.#manner === 'events') {
      for (const bytes of lines) this.#one(bytes);
      return;
    }
    const whole = Buffer.concat(lines);
    const longest = { pieces: 200, crumbs: whole.length > 3_000 ? 40 : 7, lump: whole.length || 1 }[this.#manner];
    for (let from = 0; from < whole.length;) {
      const to = this.#manner === 'lump' ? whole.length : from + this.#random.int(1, longest);
      this.#one(whole.subarray(from, to));
      from = to;
    }
  }

  #one(bytes: Buffer): void {
    if (bytes.length > 0) this.add({ do: 'write', bytes });
    if (this.#random.chance(0.01)) this.slowly();
  }
}

/** An event whose data is no JSON any more. */
function damaged(event: string, random: Random): string {
  const at = event.indexOf('data: ') + 'data: '.length;
  const data = event.slice(at, -2);
  const cutShort = data.slice(0, random.int(1, Math.max(1, data.length - 1)));
  const bad = random.pick([
    cutShort,
    cutShort,
    `${data.slice(0, data.length >> 1)}${' '.repeat(9)}`,
    'oops',
    '7',
    '[]',
  ]);
  return `${event.slice(0, at)}${bad}\n\n`;
}

const words = [
  'word',
  'Übermut',
  '日本語',
  '👩‍🚀',
  '"quoted"',
  '\\back',
  'tab\there',
  'line\nbreak',
  'blank\n\nline',
  'a\u2028b',
  '[DONE]',
  'data: x',
  '"usage":{}',
  '"error":{"x":1}',
  '"finish_reason":"stop"',
  '}',
  '{',
  'event: error\n',
  'é\u0301',
] as [string, ...string[]];

function blocks(random: Random): Block[] {
  const text = () => Array.from({ length: random.int(1, 25) }, () => random.pick(words)).join(' ');
  const said: Block[] = random.chance(0.85) ? [{ type: 'text', text: text() }] : [];
  const calls = random.chance(0.4) || said.length === 0 ? random.int(1, 3) : 0;
  const called = Array.from({ length: calls }, (_, i): Block => ({
    type: 'tool_call',
    name: `tool_${i}`,
    input: random.chance(0.2) ? {} : { path: random.pick(words), count: random.int(0, 9), more: { text: text() } },
  }));
  return [...said, ...called];
}

function stop(random: Random): { readonly stop?: 'length' } {
  return random.chance(0.15) ? { stop: 'length' } : {};
}
