import { RE2JS } from '@bufbuild/re2';
import { patternCharsMax, patternTableMax } from '../../base/limits.ts';
import {
  type Alphabet,
  alphabetOf,
  classOf,
  contextBetween,
  endOfText,
  startOfText,
  UnsupportedFold,
} from './alphabet.ts';

/** Says whether a pattern matches anywhere in a text: one look into a table for each of its characters. */
export type Pattern = (text: string) => boolean;

/** Why a pattern is refused, as the end of a sentence. */
export class PatternRefused extends Error {}

/**
 * Compiles a pattern in RE2's syntax into the whole table of its states. The library's own matcher makes states as texts ask for them
 * and keeps them, so that whoever chooses the texts chooses its time and memory; here both are known when the pattern is saved.
 */
export function compilePattern(source: string, steps: PatternSteps): Pattern {
  if (source.length > patternCharsMax) throw new PatternRefused(`is longer than ${patternCharsMax} characters`);
  const program = programOf(source);
  return tabulate(program, alphabetFor(program, steps), steps);
}

function alphabetFor({ inst }: Program, steps: PatternSteps): Alphabet {
  const assertions = inst.some(({ op: code }) => code === op.emptyWidth);
  try {
    return alphabetOf(inst.filter(consumes), assertions, (taken) => spend(steps, taken));
  } catch (error) {
    if (!(error instanceof UnsupportedFold)) throw error;
    throw new PatternRefused('ignores the case of a letter beyond ASCII: name both letters, as in [éÉ]');
  }
}

/** The library's compiled form (Cox, "Regular Expression Matching: the Virtual Machine Approach"). */
type Program = ReturnType<RE2JS['re2']>['prog'];
type Instruction = ReturnType<Program['getInst']>;

/** `op` of an instruction: the library does not export its names. */
const op = { alt: 1, altMatch: 2, capture: 3, emptyWidth: 4, match: 6, nop: 7, runeFirst: 8, runeLast: 11 } as const;

function consumes(instruction: Instruction): boolean {
  return instruction.op >= op.runeFirst && instruction.op <= op.runeLast;
}

function programOf(source: string): Program {
  try {
    return RE2JS.compile(source).re2().prog;
  } catch (error) {
    throw new PatternRefused(`is no pattern of RE2: ${error instanceof Error ? error.message : 'it cannot be read'}`);
  }
}

/** What making the patterns of one condition may still take: 100,000 steps are 10 ms. */
export interface PatternSteps {
  left: number;
}

function spend(steps: PatternSteps, taken: number): void {
  steps.left -= taken;
  if (steps.left < 0) throw tooComplex();
}

function tooComplex(): PatternRefused {
  return new PatternRefused(
    'has too many states, alone or with the others: shorten repetitions such as {20}, anchor it with ^ and $, or use contains()',
  );
}

/** Instructions that are still to be followed, and what stood before. */
interface State {
  readonly pending: readonly number[];
  readonly before: number;
}

/** The number of the state in which a match was found: no other needs to be reached. */
const matched = 0;

function tabulate(program: Program, alphabet: Alphabet, steps: PatternSteps): Pattern {
  const numbers = new Map<string, number>();
  const states: State[] = [];
  const numberOf = (state: State) => {
    const key = `${state.before}:${state.pending.join()}`;
    const known = numbers.get(key);
    if (known !== undefined) return known;
    states.push(state);
    if ((states.length + 1) * alphabet.classes.length > patternTableMax) throw tooComplex();
    numbers.set(key, states.length);
    return states.length;
  };
  numberOf({ pending: [program.start], before: startOfText });
  const rows: number[][] = [];
  const matchedAtEnd: boolean[] = [true];
  for (const state of states) {
    const follow = (kind: number) => reach(program, state.pending, contextBetween(state.before, kind), steps);
    const reached = new Map(alphabet.kinds.map((kind) => [kind, follow(kind)]));
    rows.push(
      alphabet.classes.map(({ kind, sample }) => {
        const instructions = reached.get(kind);
        if (instructions === null || instructions === undefined) return matched;
        spend(steps, instructions.length + 1);
        const next = instructions.filter((pc) => program.getInst(pc).matchRune(sample));
        const pending = new Set(next.map((pc) => program.getInst(pc).out));
        // A match may begin at each character.
        pending.add(program.start);
        return numberOf({ pending: [...pending].sort((a, b) => a - b), before: kind });
      }),
    );
    matchedAtEnd.push(follow(endOfText) === null);
  }
  return matcher(Uint16Array.from([alphabet.classes.map(() => matched), ...rows].flat()), matchedAtEnd, alphabet);
}

/** The instructions that consume and are reached without consuming; null where a match is. */
function reach(
  program: Program,
  pending: readonly number[],
  context: number,
  steps: PatternSteps,
): readonly number[] | null {
  const seen = new Set(pending);
  const consuming: number[] = [];
  // A set's iteration meets what is added to it meanwhile.
  for (const pc of seen) {
    const instruction = program.getInst(pc);
    if (instruction.op === op.match) return null;
    if (consumes(instruction)) consuming.push(pc);
    const passes = instruction.op === op.nop || instruction.op === op.capture || instruction.op === op.alt;
    const holds = instruction.op === op.emptyWidth && (instruction.arg & ~context) === 0;
    if (passes || holds || instruction.op === op.altMatch) seen.add(instruction.out);
    if (instruction.op === op.alt || instruction.op === op.altMatch) seen.add(instruction.arg);
  }
  spend(steps, seen.size);
  return consuming;
}

function matcher(table: Uint16Array, matchedAtEnd: readonly boolean[], alphabet: Alphabet): Pattern {
  const width = alphabet.classes.length;
  const { ascii } = alphabet;
  return (text) => {
    let state = 1;
    for (let index = 0; index < text.length; index += 1) {
      let unit = text.charCodeAt(index);
      if (unit >= 0xd800 && unit <= 0xdbff) {
        unit = text.codePointAt(index) ?? unit;
        if (unit > 0xffff) index += 1;
      }
      const column = unit < 128 ? (ascii[unit] ?? 0) : classOf(alphabet, unit);
      state = table[state * width + column] ?? matched;
      if (state === matched) return true;
    }
    return matchedAtEnd[state] ?? false;
  };
}
