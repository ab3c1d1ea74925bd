import { PortcullisError } from '../../base/errors.ts';
import type { Conversation } from '../conversation.ts';

/** One answer of a script. */
export type Step =
  | { readonly kind: 'call'; readonly name: string; readonly argumentsJson: string }
  | { readonly kind: 'say'; readonly text: string };

const header = /^sim script:$/m;

/**
 * What the newest script in the user's text tells the simulated model to answer now; null without one, and after its
 * end. A line is an answer, and they are given in turn: one line for each answer since the script was said.
 *
 *     sim script:
 *     call NAME {"argument": "value"}
 *     say TEXT
 *
 * An empty line ends it.
 * @throws PortcullisError invalid_argument for a line that is neither
 */
export function stepOf({ turns }: Conversation): Step | null {
  const at = turns.findLastIndex((turn) => scriptIn(turn) !== null);
  const turn = turns[at];
  const script = turn === undefined ? null : scriptIn(turn);
  if (script === null) return null;
  const answered = turns.slice(at).filter(({ role }) => role === 'assistant').length;
  const line = script[answered];
  return line === undefined ? null : readStep(line, answered + 1);
}

/** The lines of the script in a user's turn. */
function scriptIn({ role, blocks }: Conversation['turns'][number]): string[] | null {
  if (role !== 'user') return null;
  const text = blocks.findLast((block) => block.type === 'text' && header.test(block.text));
  if (text?.type !== 'text') return null;
  const [, after = ''] = text.text.split(header);
  const lines = after.replace(/^\n/, '').split('\n');
  const end = lines.findIndex((line) => line.trim() === '');
  return end < 0 ? lines : lines.slice(0, end);
}

function readStep(line: string, number: number): Step {
  const [, said] = /^say (.+)$/.exec(line) ?? [];
  if (said !== undefined) return { kind: 'say', text: said };
  const [, name, argumentsJson] = /^call ([\w.:-]+) (\{.*\})$/.exec(line) ?? [];
  if (name !== undefined && argumentsJson !== undefined && isJson(argumentsJson))
    return { kind: 'call', name, argumentsJson };
  throw new PortcullisError(
    'invalid_argument',
    `Line ${number} of the sim script must be \`call NAME {…}\` with JSON arguments, or \`say TEXT\`.`,
  );
}

function isJson(text: string): boolean {
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}
