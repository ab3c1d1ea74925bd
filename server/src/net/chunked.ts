const lineEnd = Buffer.from('\r\n');

/** These bytes as one chunk of a chunked body (RFC 9112, 7.1), ready to be written at once. They must not be empty. */
export function chunkOf(parts: readonly Buffer[]): Buffer {
  const length = parts.reduce((sum, part) => sum + part.length, 0);
  const size = length.toString(16);
  const chunk = Buffer.allocUnsafe(size.length + length + 2 * lineEnd.length);
  let at = chunk.write(size, 'latin1');
  at += lineEnd.copy(chunk, at);
  for (const part of parts) at += part.copy(chunk, at);
  lineEnd.copy(chunk, at);
  return chunk;
}
