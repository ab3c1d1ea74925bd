import type { Exchange } from './exchange.ts';

// Claude Code calls /v1/messages?beta=true. Whatever else a client adds means nothing to the gate, and goes no further.
const passing = ['beta'];
const plainValue = /^[A-Za-z0-9._-]{1,64}$/;

/** What of a client's query goes to a provider of the same dialect: empty, or with its question mark. */
export function passingQuery({ request: { url = '' } }: Exchange): string {
  const start = url.indexOf('?');
  if (start < 0) return '';
  const query = new URLSearchParams(url.slice(start));
  const kept = passing.flatMap((name) => {
    const value = query.get(name);
    return value !== null && plainValue.test(value) ? [`${name}=${value}`] : [];
  });
  return kept.length > 0 ? `?${kept.join('&')}` : '';
}
