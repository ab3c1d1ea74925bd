import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { z } from 'zod';
import { isLoopback } from '../../config/production.ts';
import { CliError, type CliContext } from '../context.ts';
import { exitCodes } from '../exit-codes.ts';
import { readText, Refused, sendForm, tokenAnswer } from './oauth-client.ts';

/** Where the ID token of a workload comes from. */
export interface IdTokenSource {
  readonly idTokenFile?: string;
  readonly idTokenEnv?: string;
  /** GitHub's runner is asked for one, for this audience. */
  readonly audience?: string;
}

/** The ID token of the workload that this runs in; null where none is named and there is no runner to ask. @throws CliError */
export async function findIdToken(context: CliContext, source: IdTokenSource, server: string): Promise<string | null> {
  const { environment, cwd } = context;
  if (source.idTokenFile !== undefined) {
    try {
      return readFileSync(resolve(cwd, source.idTokenFile), 'utf8').trim();
    } catch {
      throw new CliError('--id-token-file: the file cannot be read.');
    }
  }
  if (source.idTokenEnv !== undefined) {
    const token = environment[source.idTokenEnv];
    if (token) return token.trim();
    throw new CliError(`--id-token-env: ${source.idTokenEnv} is not set.`);
  }
  const url = environment['ACTIONS_ID_TOKEN_REQUEST_URL'];
  const secret = environment['ACTIONS_ID_TOKEN_REQUEST_TOKEN'];
  return url && secret ? askRunner(url, secret, source.audience ?? server) : null;
}

/** Exchanges an ID token for a key of the agent that it names (RFC 8693). @throws CliError */
export async function exchange(server: string, idToken: string, scopes: readonly string[]): Promise<string> {
  const form = {
    grant_type: 'urn:ietf:params:oauth:grant-type:token-exchange',
    subject_token: idToken,
    subject_token_type: 'urn:ietf:params:oauth:token-type:id_token',
    ...(scopes.length > 0 && { scope: scopes.join(' ') }),
  };
  try {
    return (await sendForm(server, '/oauth/token', form, tokenAnswer)).access_token;
  } catch (error) {
    if (error instanceof Refused) throw new CliError(error.message, exitCodes.denied);
    throw error;
  }
}

/** GitHub Actions, "OpenID Connect": the runner gives each job a URL and a token of its own. */
async function askRunner(requestUrl: string, secret: string, audience: string): Promise<string> {
  const url = URL.parse(requestUrl);
  if (url === null || (url.protocol !== 'https:' && !isLoopback(url.hostname))) {
    throw new CliError('ACTIONS_ID_TOKEN_REQUEST_URL must begin with https://.');
  }
  url.searchParams.set('audience', audience);
  try {
    const response = await fetch(url, {
      headers: { authorization: `Bearer ${secret}` },
      redirect: 'error',
      signal: AbortSignal.timeout(10_000),
    });
    if (response.status !== 200) throw new Error(`it answered ${response.status}`);
    return z.object({ value: z.string().min(1) }).parse(JSON.parse(await readText(response))).value;
  } catch {
    throw new CliError('The runner of GitHub Actions gave no ID token: has the job `permissions: id-token: write`?');
  }
}
