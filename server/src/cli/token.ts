import { Command, InvalidArgumentError } from 'commander';
import { checkUrl, givenServer } from './connection.ts';
import { CliError, type CliContext } from './context.ts';
import { parseDuration } from './durations.ts';
import { exitCodes } from './exit-codes.ts';
import { collectScopes } from './gate-command.ts';
import { loginPath } from './login/credentials-file.ts';
import { freshLogin } from './login/saved-login.ts';
import { exchange, findIdToken, type IdTokenSource } from './login/workload.ts';

interface TokenOptions extends IdTokenSource {
  readonly minLifetime: number;
  readonly server?: string;
  readonly scope?: readonly string[];
}

// A new key lives for an hour.
const minLifetimeMsMax = 55 * 60_000;

/** `portcullis token`: a key and nothing else, for programs that ask a command for theirs. */
export function tokenCommand(context: CliContext): Command {
  return new Command('token')
    .description('print a key: of your login, or of the agent that this workload is')
    .option('--min-lifetime <time>', 'how long the key of your login must last, at most 55m', parseLifetime, 300_000)
    .option('--id-token-file <file>', "take this workload's ID token from a file")
    .option('--id-token-env <name>', 'take it from a variable of the environment')
    .option('--audience <audience>', "for whom GitHub's runner makes the ID token (default: the gate's address)")
    .option('--server <url>', 'the gate of the workload (default: PORTCULLIS_URL)')
    .option(
      '--scope <scope>',
      'what the key of the workload may do, more than once (default: all it can)',
      collectScopes,
    )
    .action(async (options: TokenOptions) => {
      context.stdout.write(`${await keyOf(context, options)}\n`);
    });
}

async function keyOf(context: CliContext, options: TokenOptions): Promise<string> {
  const url = options.server ?? givenServer(context);
  const server = url === undefined ? null : checkUrl(url);
  const isWorkload = options.idTokenFile !== undefined || options.idTokenEnv !== undefined;
  if (server === null && isWorkload)
    throw new CliError('Which gate? Give --server, or set PORTCULLIS_URL.', exitCodes.usage);
  const idToken = server === null ? null : await findIdToken(context, options, server);
  if (server !== null && idToken !== null) return exchange(server, idToken, options.scope ?? []);
  const path = loginPath(context);
  if (path === null) throw new CliError('Nobody is logged in here: run `portcullis login`.', exitCodes.denied);
  if (options.scope !== undefined || options.audience !== undefined) {
    throw new CliError(
      '--scope and --audience are for the token of a workload: the key of a login has the scopes of `portcullis login --scope`.',
      exitCodes.usage,
    );
  }
  const login = await freshLogin(path, options.minLifetime);
  if (server === null || server === login.server) return login.key;
  throw new CliError(
    `You are logged in to ${login.server}, not to ${server}: run \`portcullis login\`.`,
    exitCodes.denied,
  );
}

function parseLifetime(text: string): number {
  const ms = parseDuration(text);
  if (ms > minLifetimeMsMax) throw new InvalidArgumentError('A key lives for an hour: 55m is the most.');
  return ms;
}
