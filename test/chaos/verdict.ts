import type { ContentBlock, StreamContent } from '../../server/src/llm/testing/stream-content.ts';
import type { Block } from '../support/mock-upstream/script.ts';
import type { Received } from './client.ts';
import type { Performance, Plan } from './plan.ts';
import { sideOf } from './sides.ts';

export type Ending = 'finished' | 'failed' | 'refused' | 'left';

/**
 * Judges what a client got: a legal answer with all that the upstream said, or a legal beginning of it with one error, or
 * an HTTP error; or, where the client left, any legal beginning.
 * @throws Error saying what is illegal
 */
export function judge(plan: Plan, received: Received, performance: Performance | null): Ending {
  const { status, contentType, whole, left } = received;
  if (left) {
    if (status === 200) expectBeginning(plan, read(plan, wholeEvents(received.text)), performance);
    return 'left';
  }
  insist(whole, 'the answer was cut off');
  if (status !== 200) {
    insist(plan.fault !== 'none', `status ${status} without a fault: ${received.text}`);
    const side = sideOf(plan.dialectIn);
    insist(side.isError(JSON.parse(received.text)), `status ${status} is no error of the dialect: ${received.text}`);
    return 'refused';
  }
  insist(contentType.startsWith('text/event-stream'), `a stream of type ${contentType}`);
  const content = read(plan, received.text);
  expectBeginning(plan, content, performance);
  insist(content.ending !== 'open', 'the stream ended without an ending');
  if (content.ending === 'failed') {
    insist(plan.fault !== 'none', 'an error without a fault');
    return 'failed';
  }
  const told = summary(content.blocks);
  const said = saidBy(performance);
  insist(told.text === said.text, `finished with other text: ${JSON.stringify([told.text, said.text])}`);
  insist(same(told.calls, said.calls), `finished with other calls: ${JSON.stringify([told.calls, said.calls])}`);
  return 'finished';
}

function read({ dialectIn }: Plan, text: string): StreamContent {
  // Lines may end in CR LF where bytes pass.
  return sideOf(dialectIn).read(text.replaceAll('\r\n', '\n'));
}

/** As far as whole events came. */
function wholeEvents(text: string): string {
  const lines = text.replaceAll('\r\n', '\n');
  return lines.slice(0, lines.lastIndexOf('\n\n') + (lines.includes('\n\n') ? 2 : 1));
}

function expectBeginning(plan: Plan, { blocks }: StreamContent, performance: Performance | null): void {
  if (blocks.length === 0) return;
  insist(plan.fault !== 'http_error' || plan.mends, 'an answer where there was none');
  const told = summary(blocks);
  const said = saidBy(performance);
  insist(said.text.startsWith(told.text), `text that nobody said: ${JSON.stringify([told.text, said.text])}`);
  const known = told.calls.every(
    ({ name, json }, i) => said.calls[i]?.name === name && said.calls[i].json.startsWith(json),
  );
  insist(known, `calls that nobody made: ${JSON.stringify([told.calls, said.calls])}`);
}

interface Summary {
  readonly text: string;
  readonly calls: readonly { readonly name: string; readonly json: string }[];
}

function summary(blocks: readonly ContentBlock[]): Summary {
  return {
    text: blocks.map((block) => (block.type === 'text' ? block.text : '')).join(''),
    calls: blocks.flatMap((block) =>
      block.type === 'tool_call' ? [{ name: block.name, json: block.argumentsJson }] : [],
    ),
  };
}

function saidBy(performance: Performance | null): Summary {
  const blocks: readonly Block[] = performance?.answer.spoken.map(({ block }) => block) ?? [];
  return {
    text: blocks.map((block) => (block.type === 'text' ? block.text : '')).join(''),
    calls: blocks.flatMap((block) =>
      block.type === 'tool_call' ? [{ name: block.name, json: JSON.stringify(block.input) }] : [],
    ),
  };
}

function same(a: Summary['calls'], b: Summary['calls']): boolean {
  return JSON.stringify(a) === JSON.stringify(b);
}

function insist(condition: boolean, what: string): asserts condition {
  if (!condition) throw new Error(what);
}
