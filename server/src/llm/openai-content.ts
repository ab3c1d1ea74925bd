import type { CacheMark, ContentBlock } from './conversation.ts';
import type { ObjectReader } from './object-reader.ts';

/** What OpenAI's two dialects say of content in the same words. */

const usualLifetimes: ReadonlySet<string> = new Set(['5m', '30m']);
const longLifetimes: ReadonlySet<string> = new Set(['1h', '12h']);

/** OpenAI's `prompt_cache_breakpoint`, or the `cache_control` that LiteLLM and OpenRouter take over from Anthropic. */
export function parseMark(holder: ObjectReader): { readonly cache?: CacheMark } {
  const marks = [holder.child('prompt_cache_breakpoint'), holder.child('cache_control')].filter(
    (mark) => mark !== null,
  );
  if (marks.length === 0) return {};
  return { cache: { lifetime: marks.map(parseLifetime).some(Boolean) ? 'long' : 'usual' } };
}

/** Whether the mark asks for a long one. */
function parseLifetime(mark: ObjectReader): boolean {
  mark.neutral('mode', 'explicit');
  mark.neutral('type', 'ephemeral');
  const ttl = mark.optionalString('ttl') ?? '30m';
  if (!usualLifetimes.has(ttl) && !longLifetimes.has(ttl)) mark.hint('ttl');
  mark.close();
  return longLifetimes.has(ttl);
}

export function writeMark(cache: CacheMark | undefined): object {
  if (cache === undefined) return {};
  return { prompt_cache_breakpoint: { mode: 'explicit', ...(cache.lifetime === 'long' && { ttl: '12h' }) } };
}

/** There is no flag for a failed tool call, so the first line of its result says so, to the model and to us. */
const errorMark = '[tool error]\n';

/** The content of a tool's result, and whether it says that the call failed. */
export function readToolError<B extends ContentBlock>(content: readonly B[]): { content: B[]; isError: boolean } {
  const [first, ...rest] = content;
  if (first?.type !== 'text' || !first.text.startsWith(errorMark)) return { content: [...content], isError: false };
  const text = first.text.slice(errorMark.length);
  return { content: text === '' ? rest : [{ ...first, text }, ...rest], isError: true };
}

/** The content of the result of a call that failed. */
export function writeToolError(content: readonly ContentBlock[]): readonly ContentBlock[] {
  const [first, ...rest] = content;
  if (first?.type === 'text') return [{ ...first, text: errorMark + first.text }, ...rest];
  return [{ type: 'text', text: errorMark }, ...content];
}
