import { z } from 'zod';
import { visible } from '../terminal-text.ts';
import { CliError } from '../context.ts';
import { exitCodes } from '../exit-codes.ts';

const requestMs = 10_000;
const answerBytesMax = 64 * 1024;
export const clientId = 'portcullis-cli';

const refusal = z.object({ error: z.string(), error_description: z.string().optional() });

/** What `/oauth/token` gives. */
export const tokenAnswer = z.object({
  access_token: z.string().regex(/^[\x21-\x7e]+$/),
  expires_in: z.number().int().positive(),
  refresh_token: z.string().optional(),
  scope: z.string().optional(),
});

/** What an endpoint refused, with the code that says why (RFC 6749, section 5.2). */
export class Refused extends Error {
  readonly error: string;

  constructor(error: string, description: string) {
    super(description);
    this.error = error;
  }
}

/**
 * Sends a form to an endpoint of the gate and reads its answer.
 * @throws Refused, or CliError when no gate answers
 */
export async function sendForm<T>(
  server: string,
  path: string,
  form: Readonly<Record<string, string>>,
  answer: z.ZodType<T>,
  timeoutMs = requestMs,
): Promise<T> {
  const { status, text } = await post(`${server}${path}`, new URLSearchParams(form), timeoutMs);
  if (status === 200) {
    const parsed = answer.safeParse(json(text));
    if (parsed.success) return parsed.data;
  } else {
    const parsed = refusal.safeParse(json(text));
    if (parsed.success)
      throw new Refused(parsed.data.error, visible(parsed.data.error_description ?? parsed.data.error));
  }
  throw new CliError(`${server} is no gate that people log in to (${path} answered ${status}).`, exitCodes.unreachable);
}

async function post(url: string, body: URLSearchParams, timeoutMs: number): Promise<{ status: number; text: string }> {
  try {
    // A credential follows no redirect.
    const init = { method: 'POST', body, redirect: 'error', signal: AbortSignal.timeout(timeoutMs) } as const;
    const response = await fetch(url, init);
    return { status: response.status, text: await readText(response) };
  } catch (error) {
    const { cause } = error instanceof Error ? error : { cause: error };
    const why = cause instanceof Error && 'code' in cause ? String(cause.code) : 'no answer';
    throw new CliError(visible(`No gate answers at ${new URL(url).origin} (${why}).`), exitCodes.unreachable);
  }
}

/** The body as text, of which more than an answer has is not read. */
export async function readText(response: Response): Promise<string> {
  const chunks: Uint8Array[] = [];
  let bytes = 0;
  for await (const chunk of response.body ?? []) {
    bytes += chunk.length;
    if (bytes > answerBytesMax) throw new Error('the answer is too long');
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString('utf8');
}

function json(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}
