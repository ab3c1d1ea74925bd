import { request } from 'undici';
import { z } from 'zod';
import { modelNameCharsMax } from '../base/limits.ts';
import { CliError } from './context.ts';

const answerMs = 5_000;
const answerBytesMax = 1024 * 1024;
const modelsMax = 200;

const listSchema = z.object({ data: z.array(z.object({ id: z.string() })) });

/**
 * Asks a server that speaks OpenAI's wire format which models it has (GET /models). Names that cannot be a route are
 * left out.
 * @throws CliError when nothing of that kind answers
 */
export async function modelsOf(baseUrl: string, apiKey: string | undefined): Promise<string[]> {
  const nobody = `No model server answers at ${baseUrl}: start it, or name the models with --model.`;
  let text = '';
  try {
    const answer = await request(`${baseUrl.replace(/\/+$/, '')}/models`, {
      headers: apiKey === undefined ? {} : { authorization: `Bearer ${apiKey}` },
      headersTimeout: answerMs,
      bodyTimeout: answerMs,
      signal: AbortSignal.timeout(2 * answerMs),
    });
    for await (const chunk of answer.body) {
      text += String(chunk);
      if (text.length > answerBytesMax) throw new Error('too long');
    }
  } catch {
    throw new CliError(nobody);
  }
  const models = namesIn(text);
  if (models === null) throw new CliError(nobody);
  if (models.length === 0) throw new CliError(`The server at ${baseUrl} has no models: pull one first.`);
  return models.slice(0, modelsMax);
}

function namesIn(text: string): string[] | null {
  let data: unknown;
  try {
    data = JSON.parse(text);
  } catch {
    return null;
  }
  const parsed = listSchema.safeParse(data);
  if (!parsed.success) return null;
  const names = parsed.data.data.map(({ id }) => id);
  return names.filter((name) => name !== '' && name.length <= modelNameCharsMax && /^[^\s*\p{C}]+$/u.test(name));
}
