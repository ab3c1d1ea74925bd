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
  let models: string[] | null;
  try {
    models = namesIn(await askServer(`${baseUrl.replace(/\/+$/, '')}/models`, { apiKey }));
  } catch {
    throw new CliError(nobody);
  }
  if (models === null) throw new CliError(nobody);
  if (models.length === 0) throw new CliError(`The server at ${baseUrl} has no models: pull one first.`);
  return models.slice(0, modelsMax);
}

/**
 * What a server answers, as JSON; with a body it is asked by POST.
 * @throws Error when it does not answer in time, or not in JSON, or with too much
 */
export async function askServer(
  url: string,
  { apiKey, body }: { readonly apiKey: string | undefined; readonly body?: object },
): Promise<unknown> {
  const answer = await request(url, {
    ...(body !== undefined && { method: 'POST', body: JSON.stringify(body) }),
    headers: {
      ...(body !== undefined && { 'content-type': 'application/json' }),
      ...(apiKey !== undefined && { authorization: `Bearer ${apiKey}` }),
    },
    headersTimeout: answerMs,
    bodyTimeout: answerMs,
    signal: AbortSignal.timeout(2 * answerMs),
  });
  let text = '';
  for await (const chunk of answer.body) {
    text += String(chunk);
    if (text.length > answerBytesMax) throw new Error('too long');
  }
  return JSON.parse(text);
}

function namesIn(list: unknown): string[] | null {
  const parsed = listSchema.safeParse(list);
  if (!parsed.success) return null;
  const names = parsed.data.data.map(({ id }) => id);
  return names.filter((name) => name !== '' && name.length <= modelNameCharsMax && /^[^\s*\p{C}]+$/u.test(name));
}
