import { sealBytesMax } from '../../base/limits.ts';
import type { AssistantBlock, JsonObject, ReasoningBlock, Seal } from '../conversation.ts';
import type { Losses } from '../losses.ts';
import { type ObjectReader, isJsonObject } from '../object-reader.ts';
import { sealFromText, sealToText } from '../seal.ts';

/**
 * OpenAI shows no reasoning in this dialect; the servers that imitate it do. Its text stands in `reasoning_content`
 * (DeepSeek, llama.cpp, older vLLM) or `reasoning` (newer vLLM, OpenRouter), and `reasoning_details` (OpenRouter) is a
 * list with what proves it. A chat seal says which of the text members were there (`fields`) and has the list, so that
 * the message goes back to its server as it came.
 */
const textFields = ['reasoning_content', 'reasoning'] as const;
type TextField = (typeof textFields)[number];

const detailTypes = ['reasoning.text', 'reasoning.summary', 'reasoning.encrypted'] as const;
const detailMembers = ['type', 'text', 'summary', 'data', 'signature', 'id', 'format', 'index'] as const;
type Detail = { readonly type: (typeof detailTypes)[number] } & Readonly<
  Partial<Record<(typeof detailMembers)[number], string | number | null>>
>;

/** What a message or delta has of reasoning. */
interface Parts {
  readonly fields: readonly TextField[];
  readonly text: string;
  readonly details: readonly Detail[];
}

/** The reasoning of a whole answer, sealed for its own server. What that sent sealed already stays sealed. */
export function readReasoning(message: ObjectReader, losses: Losses): ReasoningBlock[] {
  const parts = readParts(message, losses);
  return saysNothing(parts) ? [] : [{ type: 'reasoning', text: parts.text, seal: sealOf(parts, losses) }];
}

/**
 * The reasoning of an assistant message that a caller sends, put among its other blocks. A detail that carries a seal of
 * another dialect is a block of its own, at the place that `writeReasoning` gave it.
 */
export function withReasoning(
  message: ObjectReader,
  others: readonly AssistantBlock[],
  losses: Losses,
): AssistantBlock[] {
  const parts = readParts(message, losses);
  const foreign: { readonly block: ReasoningBlock; readonly at: number }[] = [];
  const details: Detail[] = [];
  for (const [i, detail] of parts.details.entries()) {
    const seal = foreignSeal(detail);
    const at = typeof detail.index === 'number' ? detail.index : i;
    if (seal === null) details.push(detail);
    else foreign.push({ block: { type: 'reasoning', text: textOf(detail), seal }, at });
  }
  const blocks = merged(foreign, others);
  // The text beside foreign details is a copy of theirs.
  const native: Parts = foreign.length === 0 ? parts : { fields: [], text: details.map(textOf).join(''), details };
  if (saysNothing(native)) return blocks;
  return [{ type: 'reasoning', text: native.text, seal: sealOf(native, losses) }, ...blocks];
}

function merged(
  placed: readonly { readonly block: AssistantBlock; readonly at: number }[],
  others: readonly AssistantBlock[],
): AssistantBlock[] {
  const blocks: AssistantBlock[] = [];
  let next = 0;
  for (const { block, at } of placed.toSorted((a, b) => a.at - b.at)) {
    for (; blocks.length < at && next < others.length; next++) blocks.push(...others.slice(next, next + 1));
    blocks.push(block);
  }
  for (const block of others.slice(next)) blocks.push(block);
  return blocks;
}

/**
 * The members that carry the reasoning of an assistant message. To its own server it goes as it came; a seal of another
 * dialect goes into the details, with the whole text, since clients keep a streamed text in pieces.
 */
export function writeReasoning(blocks: readonly AssistantBlock[]): Record<string, unknown> {
  const texts: Partial<Record<TextField, string>> = {};
  const details: Detail[] = [];
  // Where a block will stand once the message is read again: all its text is one block, before the calls.
  let place = 0;
  let hasText = false;
  for (const block of blocks) {
    if (block.type === 'reasoning') {
      const written = writeBlock(block, place);
      for (const field of written.fields) texts[field] = (texts[field] ?? '') + block.text;
      for (const detail of written.details) details.push(detail);
    }
    if (block.type !== 'text' || !hasText) place++;
    hasText ||= block.type === 'text';
  }
  return { ...texts, ...(details.length > 0 && { reasoning_details: details }) };
}

function writeBlock({ text, seal }: ReasoningBlock, index: number): Omit<Parts, 'text'> {
  if (seal === null) return { fields: ['reasoning_content'], details: [] };
  if (seal.dialect === 'chat') return readSeal(seal);
  const sealed = sealToText(seal);
  return text === ''
    ? { fields: [], details: [{ type: 'reasoning.encrypted', data: sealed, index }] }
    : { fields: ['reasoning_content'], details: [{ type: 'reasoning.text', text, signature: sealed, index }] };
}

/** A caller may have changed a seal: only what this dialect knows is taken from it. */
function readSeal({ members }: Seal): Omit<Parts, 'text'> {
  const { fields, reasoning_details: details } = members;
  return {
    fields: Array.isArray(fields) ? textFields.filter((field) => fields.includes(field)) : [],
    details: Array.isArray(details) ? details.flatMap(readDetail) : [],
  };
}

function sealOf({ fields, details }: Omit<Parts, 'text'>, losses: Losses): Seal {
  const bare: Seal = { dialect: 'chat', members: { fields } };
  if (details.length === 0) return bare;
  const seal: Seal = { dialect: 'chat', members: { fields, reasoning_details: details } };
  if (sealToText(seal).length <= sealBytesMax) return seal;
  losses.hint('reasoning_details');
  return bare;
}

function foreignSeal({ type, data, signature }: Detail): Seal | null {
  const sealed = type === 'reasoning.encrypted' ? data : signature;
  return typeof sealed === 'string' ? sealFromText(sealed) : null;
}

/** Reasoning never makes a message unreadable: what is not understood of it is listed. */
function readParts(message: ObjectReader, losses: Losses): Parts {
  const found = textFields.map((field) => ({ field, text: message.any(field) }));
  const told = found.find(({ text }) => typeof text === 'string' && text !== '')?.text;
  const list = message.any('reasoning_details') ?? [];
  const details = Array.isArray(list) ? list.flatMap(readDetail) : [];
  const lost = found.find(({ text }) => text !== undefined && text !== '' && text !== told);
  if (lost !== undefined) losses.hint(message.path(lost.field));
  if (!Array.isArray(list) || details.length < list.length) losses.hint(message.path('reasoning_details'));
  return {
    fields: told === undefined ? [] : found.filter(({ text }) => text === told).map(({ field }) => field),
    text: typeof told === 'string' ? told : details.map(textOf).join(''),
    details,
  };
}

function readDetail(json: unknown): Detail[] {
  if (!isJsonObject(json)) return [];
  const type = detailTypes.find((each) => each === json['type']);
  return type === undefined ? [] : [{ ...knownMembers(json), type }];
}

function knownMembers(json: JsonObject): Partial<Detail> {
  return Object.fromEntries(
    detailMembers.flatMap((name) => {
      const value = json[name];
      return value === null || typeof value === 'string' || typeof value === 'number' ? [[name, value]] : [];
    }),
  );
}

function textOf({ text, summary }: Detail): string {
  return [text, summary].filter((each) => typeof each === 'string').join('');
}

function saysNothing({ text, details }: Parts): boolean {
  return text === '' && details.length === 0;
}

/** Collects the reasoning of a stream, up to its seal. */
export class ReasoningCollector {
  readonly #losses: Losses;
  readonly #fields = new Set<TextField>();
  readonly #details: Detail[] = [];
  #chars = 0;

  constructor(losses: Losses) {
    this.#losses = losses;
  }

  /** Takes what a delta has of reasoning. @returns the text that it adds; null when it has none of either */
  add(delta: ObjectReader): string | null {
    const parts = readParts(delta, this.#losses);
    if (saysNothing(parts)) return null;
    for (const field of parts.fields) this.#fields.add(field);
    for (const detail of parts.details) this.#addDetail(detail);
    return parts.text;
  }

  seal(): Seal {
    return sealOf(
      { fields: [...this.#fields], details: this.#chars > sealBytesMax ? [] : this.#details },
      this.#losses,
    );
  }

  /** A detail comes in pieces of its text, the last with the signature. */
  #addDetail(detail: Detail): void {
    this.#chars += JSON.stringify(detail).length;
    if (this.#chars > sealBytesMax) return this.#losses.hint('reasoning_details');
    const last = this.#details.at(-1);
    if (last === undefined || !continues(last, detail)) {
      this.#details.push(detail);
      return;
    }
    const known = Object.entries(detail).filter(([, value]) => value !== null);
    this.#details[this.#details.length - 1] = { ...last, ...Object.fromEntries(known), ...joined(last, detail) };
  }
}

function continues(last: Detail, next: Detail): boolean {
  if (last.type !== next.type || last.type === 'reasoning.encrypted') return false;
  return (last.index ?? null) === (next.index ?? null) && !(last.signature && textOf(next) !== '');
}

function joined(last: Detail, next: Detail): Partial<Detail> {
  const text = textOf(last) + textOf(next);
  return last.type === 'reasoning.text' ? { text } : { summary: text };
}
