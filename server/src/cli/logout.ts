import { Command } from 'commander';
import { z } from 'zod';
import { CliError, type CliContext } from './context.ts';
import { loginPath, readLoginToEnd, removeLogin, underLock } from './login/credentials-file.ts';
import { clientId, Refused, sendForm } from './login/oauth-client.ts';
import { printLine, printNote } from './output.ts';

/** `portcullis logout`: the login of this command line ends, its keys with it. */
export function logoutCommand(context: CliContext): Command {
  return new Command('logout').description('end the login of this command line, and its keys').action(async () => {
    const path = loginPath(context);
    const server = path === null ? null : await endSavedLogin(path);
    if (server === null) printNote(context, 'Nobody is logged in here.');
    else printLine(context, `Logged out of ${server}.`);
  });
}

/**
 * Ends the login at its gate, and forgets it here.
 * @returns the gate; null where nobody was logged in
 * @throws CliError when the gate could not be told; the login stays, so that it can be ended
 */
export async function endSavedLogin(path: string): Promise<string | null> {
  if (readLoginToEnd(path) === null) return null;
  return underLock(path, async () => {
    const saved = readLoginToEnd(path);
    if (saved === null) return null;
    const form = { client_id: clientId, token: saved.refresh_credential, token_type_hint: 'refresh_token' };
    try {
      await sendForm(saved.server, '/oauth/revoke', form, z.unknown());
    } catch (error) {
      if (error instanceof Refused) throw new CliError(error.message);
      throw error;
    }
    removeLogin(path);
    return saved.server;
  });
}
