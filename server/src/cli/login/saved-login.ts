import { type Connection } from '../connection.ts';
import { CliError, type CliContext } from '../context.ts';
import { exitCodes } from '../exit-codes.ts';
import { loginPath, readLogin, type SavedLogin, underLock, writeLogin } from './credentials-file.ts';
import { clientId, Refused, sendForm, tokenAnswer } from './oauth-client.ts';

/** A key with less than this left is renewed before it is used. */
const aboutToEndMs = 120_000;
const refreshMs = 4_000;

/** The gate of the login that `portcullis login` left; null where there is none. @throws CliError */
export function loginConnection(context: CliContext): Connection | null {
  const path = loginPath(context);
  const saved = path === null ? null : readLogin(path);
  if (path === null || saved === null) return null;
  let current = saved;
  const renew = async () => {
    if (!lasts(current, aboutToEndMs)) current = await freshLogin(path, aboutToEndMs);
    return current.key;
  };
  return { url: saved.server, key: saved.key, renew };
}

/**
 * The login with a key that lasts for `forMs` at least, renewed where it must be.
 * @throws CliError when nobody is logged in, or not any more
 */
export async function freshLogin(path: string, forMs: number): Promise<SavedLogin> {
  const saved = requireLogin(readLogin(path));
  if (lasts(saved, forMs)) return saved;
  return underLock(path, async () => {
    // Another process may have renewed it while this one waited.
    const found = requireLogin(readLogin(path));
    if (lasts(found, forMs)) return found;
    return writeLogin(path, () => refresh(found));
  });
}

export function savedLoginOf(
  server: string,
  answer: { access_token: string; expires_in: number; refresh_token?: string | undefined },
): SavedLogin {
  if (answer.refresh_token === undefined)
    throw new CliError('The gate gave no credential to stay logged in with: update it.');
  return {
    server,
    key: answer.access_token,
    expires_at: Date.now() + answer.expires_in * 1000,
    refresh_credential: answer.refresh_token,
  };
}

async function refresh({ server, refresh_credential: credential }: SavedLogin): Promise<SavedLogin> {
  const form = { grant_type: 'refresh_token', client_id: clientId, refresh_token: credential };
  // Asked again where the answer was lost: the gate gives the same for a minute, as long as nobody has used it.
  const ask = () => sendForm(server, '/oauth/token', form, tokenAnswer, refreshMs);
  try {
    return savedLoginOf(
      server,
      await ask().catch((error: unknown) => (error instanceof Refused ? Promise.reject(error) : ask())),
    );
  } catch (error) {
    if (!(error instanceof Refused)) throw error;
    if (error.error !== 'invalid_grant') throw new CliError(error.message);
    throw new CliError(`You are not logged in to ${server} any more: run \`portcullis login\`.`, exitCodes.denied);
  }
}

function lasts({ expires_at: end }: SavedLogin, forMs: number): boolean {
  return end - Date.now() >= forMs;
}

function requireLogin(saved: SavedLogin | null): SavedLogin {
  if (saved) return saved;
  throw new CliError('Nobody is logged in here: run `portcullis login`.', exitCodes.denied);
}
