import type { WireEvent } from '../stream-events.ts';

/** Takes SSE text apart (HTML Living Standard, 9.2.6), comments left out. Fails on text that does not end in a blank line. */
export function eventsIn(text: string): WireEvent[] {
  if (text !== '' && !text.endsWith('\n\n')) throw new Error('the text ends within an event');
  return text
    .split('\n\n')
    .filter((block) => block !== '')
    .map((block) => {
      const fields = block.split('\n').map((line) => /^(event|data|): ?(.*)$/s.exec(line));
      if (fields.includes(null)) throw new Error(`not an SSE field: ${block}`);
      const value = (name: string) => fields.filter((field) => field?.[1] === name).map((field) => field?.[2] ?? '');
      return { event: value('event')[0] ?? 'message', data: value('data').join('\n') };
    })
    .filter(({ data }) => data !== '');
}
