/**
 * UTF-8 bytes of all text in a delta or block of an answer: content, arguments, reasoning, whatever its member is called.
 * A token is at least a byte, so the sum bounds the output tokens where a provider reports none.
 */
export function outputBytesOf(json: unknown): number {
  return bytes(json, 0);
}

// The deepest that any dialect has: tool_calls[] -> function -> arguments.
const levels = 5;

function bytes(json: unknown, level: number): number {
  if (typeof json === 'string') return Buffer.byteLength(json);
  if (typeof json !== 'object' || json === null || level === levels) return 0;
  let sum = 0;
  for (const value of Object.values(json)) sum += bytes(value, level + 1);
  return sum;
}
