import { isDeepStrictEqual } from 'node:util';
import { type AnswerFeature, answerOutcome, foundAnswer } from './answer-matrix.ts';
import { answerCells, errorCells, requestCells } from './cells.ts';
import { errorFeatures } from './error-features.ts';
import { type ErrorFeature, expectedError, foundError } from './error-matrix.ts';
import { answerGroups, requestGroups } from './features.ts';
import { type Direction, type Outcome, directions } from './outcome.ts';
import { type RequestFeature, foundRequest, requestOutcome } from './request-matrix.ts';
import { answerTitle, column, gateTitlePart, requestTitle } from './titles.ts';

/** The reference page of what the translation does, made of the very cells that the tests prove. */

const path = 'docs/reference/conformance.md';
const cellTests = '../../test/conformance/conformance.test.ts';
const gateTests = '../../test/conformance/gate.test.ts';
const words = { mapped: 'mapped', adapted: 'adapted', hint: 'left out', refused: 'refused' } as const;

/** @throws Error naming a cell that is not what it is expected to be: no page is made of wishes */
export function conformancePage(): { readonly path: string; readonly text: string } {
  for (const { title, feature, direction, expected } of requestCells) {
    insist(title, foundRequest(feature, direction), expected);
  }
  for (const { title, feature, direction, streamed, expected } of answerCells) {
    insist(title, foundAnswer(feature, direction, streamed), expected);
  }
  for (const { title, feature, direction } of errorCells) {
    insist(title, foundError(feature, direction), expectedError(feature, direction));
  }
  return { path, text: `${[...intro(), ...requests(), ...answers(), ...errors()].join('\n\n')}\n` };
}

function insist(title: string, found: unknown, expected: unknown): void {
  if (isDeepStrictEqual(found, expected)) return;
  throw new Error(`"${title}" is not what is expected: run \`npx vitest run test/conformance\`.`);
}

function intro(): string[] {
  const cells = requestCells.length + answerCells.length + errorCells.length;
  return [
    '<!-- Generated from test/conformance by `npm run gen`. Do not edit. -->',
    '# Conformance of the translation',
    `What becomes of each feature where the caller speaks one dialect and the provider another. A column is a direction, **caller → provider**; \`anthropic\` is the Messages API, \`chat\` Chat Completions, \`responses\` the Responses API. Where both speak the same dialect nothing is translated: bytes pass.`,
    `Each of the ${cells} cells is a test, which the link’s title names: the column (for answers with "whole" or "streamed"), a colon, the row. \`npx vitest run test/conformance -t "chat → anthropic: top_p"\` runs one. A ● says that the row is proven once more through a running gate with a provider's server behind it, in all its directions, whole and streamed.`,
    [
      '| cell | meaning |',
      '| --- | --- |',
      '| mapped | The other side says the same. |',
      '| adapted | The other side says it in other words, which the note tells. |',
      '| left out | It cannot change what is answered, or little: dropped, and listed in the header `portcullis-dropped` by the name in the note. |',
      '| refused | Status 400 before anything is sent (for an answer: an error), for the reason in the note. A route with `lossy: allow` drops and lists it instead, unless the note says otherwise. |',
      '| – | The dialect that would have to say it (the caller’s for a request, the provider’s for an answer) has no words for it. |',
    ].join('\n'),
    'The model behind the name can do everything, but for the rows that say otherwise.',
  ];
}

function requests(): string[] {
  return [
    '## Requests',
    'The same for a whole and for a streamed answer.',
    ...requestGroups.flatMap(({ title, features }) => section(title, features, requestCell)),
  ];
}

function answers(): string[] {
  return [
    '## Answers',
    'The first of a cell is a whole answer, the second a stream.',
    ...answerGroups.flatMap(({ title, features }) => section(title, features, answerCell)),
  ];
}

function errors(): string[] {
  return [
    '## Errors of a provider',
    'What a caller gets where the provider refuses before any stream began: the status, the type and, in OpenAI’s dialects, the code. The wording is kept, and so is `Retry-After`. That the provider refused the gate’s own credential is no affair of the caller’s, and told as 502.',
    table(errorFeatures, errorCell),
  ];
}

/** Numbers what is noted under a table; the same note has one number. */
class Notes {
  readonly #texts: string[] = [];

  mark(text: string): string {
    if (!this.#texts.includes(text)) this.#texts.push(text);
    return ` (${this.#texts.indexOf(text) + 1})`;
  }

  get list(): string[] {
    return this.#texts.length === 0 ? [] : [this.#texts.map((text, i) => `${i + 1}. ${text}`).join('\n')];
  }
}

interface Row {
  readonly name: string;
  readonly throughGate?: true;
}

function section<F extends Row>(
  title: string,
  features: readonly F[],
  cell: (feature: F, direction: Direction, notes: Notes) => string,
): string[] {
  const notes = new Notes();
  const rows = table(features, (feature, direction) => cell(feature, direction, notes));
  return [`### ${title}`, rows, ...notes.list];
}

function table<F extends Row>(features: readonly F[], cell: (feature: F, direction: Direction) => string): string {
  const line = (cells: readonly string[]) => `| ${cells.join(' | ')} |`;
  const head = ['', ...directions.map(column), 'gate'];
  const rows = features.map((feature) => [
    feature.name,
    ...directions.map((direction) => cell(feature, direction)),
    feature.throughGate ? link('●', gateTests, `${gateTitlePart}: ${feature.name}`) : '',
  ]);
  return [line(head), line(head.map(() => '---')), ...rows.map(line)].join('\n');
}

function link(text: string, file: string, title: string): string {
  return `[${text}](${file} "${title}")`;
}

function requestCell(feature: RequestFeature, direction: Direction, notes: Notes): string {
  return outcomeCell(requestOutcome(feature, direction), requestTitle(feature, direction), notes);
}

function answerCell(feature: AnswerFeature, direction: Direction, notes: Notes): string {
  const [whole, streamed] = [false, true].map((stream) =>
    outcomeCell(answerOutcome(feature, direction, stream), answerTitle(feature, direction, stream), notes),
  );
  return whole === streamed ? '–' : `${whole}, ${streamed}`;
}

function outcomeCell(outcome: Outcome | null, title: string, notes: Notes): string {
  if (outcome === null) return '–';
  const note = noteOf(outcome);
  return link(words[outcome.kind], cellTests, title) + (note === null ? '' : notes.mark(note));
}

function noteOf(outcome: Outcome): string | null {
  switch (outcome.kind) {
    case 'mapped':
      return null;
    case 'adapted':
      return `${capital(outcome.how)}.`;
    case 'hint': {
      const names = `Listed as \`${outcome.dropped.join(', ')}\``;
      return outcome.how === undefined ? `${names}.` : `${names}; ${outcome.how}.`;
    }
    default: {
      const [why = ''] = outcome.message.split(': remove it, or set `lossy: allow`', 1);
      return outcome.dropped === null ? `${why} On every route.` : `${why.replace(/\.$/, '')}.`;
    }
  }
}

function capital(text: string): string {
  return text.slice(0, 1).toUpperCase() + text.slice(1);
}

function errorCell(feature: ErrorFeature, direction: Direction): string {
  const { status, type, code } = expectedError(feature, direction);
  const text = `${status} ${type}${code === null ? '' : `, ${code}`}`;
  return link(text, cellTests, requestTitle(feature, direction));
}
