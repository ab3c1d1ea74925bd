import { createReadStream, statSync } from 'node:fs';
import { resolve } from 'node:path';
import { billDocumentBytesMax } from '../../base/limits.ts';
import { CliError } from '../context.ts';

/** Reads a file of a bill piece by piece as UTF-8. @throws CliError when it cannot be read, is too large or no text */
export async function* readPieces(cwd: string, file: string): AsyncGenerator<string> {
  const path = resolve(cwd, file);
  const tooLarge = () => new CliError(`${file} is larger than ${billDocumentBytesMax} bytes: import it in parts.`);
  const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });
  let size = 0;
  try {
    if (statSync(path).size > billDocumentBytesMax) throw tooLarge();
    for await (const chunk of createReadStream(path) as AsyncIterable<Buffer>) {
      size += chunk.length;
      if (size > billDocumentBytesMax) throw tooLarge();
      yield decoder.decode(chunk, { stream: true });
    }
    yield decoder.decode();
  } catch (error) {
    if (error instanceof CliError) throw error;
    if (error instanceof TypeError) throw new CliError(`${file} is not UTF-8 text.`);
    if (error instanceof Error && 'code' in error)
      throw new CliError(`${file} cannot be read (${String(error.code)}).`);
    throw error;
  }
}

/** Reads a whole file. @throws CliError as `readPieces` */
export async function readWhole(cwd: string, file: string): Promise<string> {
  const pieces: string[] = [];
  for await (const piece of readPieces(cwd, file)) pieces.push(piece);
  return pieces.join('');
}
