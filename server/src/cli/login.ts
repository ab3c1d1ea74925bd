import { hostname } from 'node:os';
import { setTimeout as sleep } from 'node:timers/promises';
import { Command } from 'commander';
import { z } from 'zod';
import { checkUrl, givenServer } from './connection.ts';
import { CliError, type CliContext } from './context.ts';
import { exitCodes } from './exit-codes.ts';
import { collectScopes } from './gate-command.ts';
import { openBrowser } from './login/browser.ts';
import { loginPath, readLoginToEnd, underLock, writeLogin } from './login/credentials-file.ts';
import { clientId, Refused, sendForm, tokenAnswer } from './login/oauth-client.ts';
import { savedLoginOf } from './login/saved-login.ts';
import { endSavedLogin } from './logout.ts';
import { printLine, printNote, styled } from './output.ts';
import { visible } from './terminal-text.ts';

interface LoginCommandOptions {
  readonly server?: string;
  readonly scope?: readonly string[];
  readonly browser: boolean;
}

const deviceAnswer = z.object({
  device_code: z.string(),
  user_code: z.string().max(40),
  verification_uri: z.url({ protocol: /^https?$/ }),
  verification_uri_complete: z.url({ protocol: /^https?$/ }),
  expires_in: z.number().positive(),
  interval: z.number().min(1).max(60).optional(),
});

/** `portcullis login`: a person confirms this command line at a browser (RFC 8628). */
export function loginCommand(context: CliContext): Command {
  return new Command('login')
    .description('log this command line in: you confirm it at a browser')
    .option('--server <url>', 'the gate (default: PORTCULLIS_URL, or the one of the last login)')
    .option('--scope <scope>', 'what it may do, more than once (default: all that you may, but admin)', collectScopes)
    .option('--no-browser', 'only print the address to open')
    .action((options: LoginCommandOptions) => logIn(context, options));
}

async function logIn(context: CliContext, options: LoginCommandOptions): Promise<void> {
  const path = loginPath(context);
  if (path === null) throw new CliError('There is no place for a login here: set HOME or XDG_CONFIG_HOME.');
  const server = serverOf(context, options, path);
  const asked = await refusalsAsErrors(() =>
    sendForm(
      server,
      '/oauth/device_authorization',
      {
        client_id: clientId,
        client_name: clientName(),
        ...(options.scope && { scope: options.scope.join(' ') }),
      },
      deviceAnswer,
    ),
  );
  requireSameOrigin(server, asked.verification_uri, asked.verification_uri_complete);
  const code = styled(context, context.stdout, 'bold', visible(asked.user_code));
  context.stdout.write(`Open ${visible(asked.verification_uri)} and enter the code ${code}\n`);
  printLine(context, `or open ${asked.verification_uri_complete} and compare it.`);
  if (options.browser) openBrowser(context, asked.verification_uri_complete);
  const login = savedLoginOf(server, await refusalsAsErrors(() => poll(server, asked)));
  // The one before must not go on unseen.
  await endSavedLogin(path).catch((error: unknown) => {
    const why = error instanceof Error ? error.message : String(error);
    printNote(context, `The login before this one could not be ended: end it with \`portcullis logins end\`. ${why}`);
  });
  await underLock(path, () => writeLogin(path, async () => login));
  printLine(context, `Logged in to ${server}. \`portcullis whoami\` says as whom.`);
}

async function poll(server: string, asked: z.infer<typeof deviceAnswer>): Promise<z.infer<typeof tokenAnswer>> {
  const form = {
    grant_type: 'urn:ietf:params:oauth:grant-type:device_code',
    client_id: clientId,
    device_code: asked.device_code,
  };
  const end = Date.now() + asked.expires_in * 1000;
  let intervalS = asked.interval ?? 5;
  while (Date.now() < end) {
    await sleep(intervalS * 1000);
    try {
      return await sendForm(server, '/oauth/token', form, tokenAnswer);
    } catch (error) {
      const why = error instanceof Refused ? error.error : error instanceof CliError ? 'unreachable' : null;
      // RFC 8628, section 3.5: what may pass is waited for, and longer each time.
      if (why === 'slow_down' || why === 'temporarily_unavailable' || why === 'unreachable') intervalS += 5;
      else if (why !== 'authorization_pending') throw error;
    }
  }
  throw new Refused('expired_token', 'Nobody confirmed the login in time: begin again.');
}

/** A person signs in where the page is: a gate that shows another's page would be confirmed there. */
function requireSameOrigin(server: string, ...pages: readonly string[]): void {
  const { origin } = new URL(server);
  const elsewhere = pages.map((page) => new URL(page).origin).find((other) => other !== origin);
  if (elsewhere === undefined) return;
  throw new CliError(
    visible(`${origin} wants the login confirmed at ${elsewhere}: give --server ${elsewhere} if that is your gate.`),
    exitCodes.denied,
  );
}

async function refusalsAsErrors<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    if (!(error instanceof Refused)) throw error;
    throw new CliError(error.message, error.error === 'access_denied' ? exitCodes.denied : exitCodes.failed);
  }
}

function serverOf(context: CliContext, { server }: LoginCommandOptions, path: string): string {
  const url = server ?? givenServer(context) ?? lastServer(path);
  if (url) return checkUrl(url);
  throw new CliError('Which gate? Give --server, or set PORTCULLIS_URL.', exitCodes.usage);
}

function lastServer(path: string): string | undefined {
  try {
    return readLoginToEnd(path)?.server;
  } catch {
    return undefined;
  }
}

/** What the person is shown; the gate takes one line of 80 characters. */
function clientName(): string {
  return `portcullis on ${
    hostname()
      .replace(/[^\w.-]/g, '')
      .slice(0, 60) || 'a machine without a name'
  }`;
}
