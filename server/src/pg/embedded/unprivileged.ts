import { readFileSync, statSync, type Stats } from 'node:fs';
import { chown } from 'node:fs/promises';
import { dirname } from 'node:path';

/** The user that PostgreSQL runs under when we are root, which it refuses to be. */
export interface ServerUser {
  readonly uid: number;
  readonly gid: number;
}

/**
 * Whom PostgreSQL runs as; undefined is "as ourselves". For root it is whoever made the cluster, so that `sudo` now and
 * then does no harm, and else `nobody`: initdb wants a uid that /etc/passwd names, and adding a user is not ours to do.
 * @param cluster the folder of the cluster, if it is there yet
 * @throws Error when root has nobody to turn to
 */
export function serverUser(cluster: string): ServerUser | undefined {
  if (process.getuid?.() !== 0) return undefined;
  if (process.platform !== 'linux') {
    throw new Error('PostgreSQL refuses to run as root: start Portcullis as an ordinary user, or set DATABASE_URL.');
  }
  const made = statSync(cluster, { throwIfNoEntry: false });
  if (made && made.uid !== 0) return { uid: made.uid, gid: made.gid };
  const line = readFileSync('/etc/passwd', 'utf8')
    .split('\n')
    .find((entry) => entry.startsWith('nobody:'));
  const [, , uid, gid] = line?.split(':') ?? [];
  if (uid === undefined || gid === undefined) {
    throw new Error(
      'PostgreSQL refuses to run as root and /etc/passwd has no "nobody": start Portcullis as an ordinary user, or set DATABASE_URL.',
    );
  }
  return { uid: Number(uid), gid: Number(gid) };
}

/**
 * Makes `user` the owner of `path`; nothing to do when the server runs as ourselves.
 * @throws Error in a container whose root has no such right
 */
export async function handTo(path: string, user: ServerUser | undefined): Promise<void> {
  if (user === undefined) return;
  try {
    await chown(path, user.uid, user.gid);
  } catch (cause) {
    throw new Error(
      `PostgreSQL refuses to run as root, and this root may not give ${path} to another user (CAP_CHOWN): start Portcullis as an ordinary user, or set DATABASE_URL.`,
      { cause },
    );
  }
}

/** True when `user` can pass through every folder above `path`. Parts that do not exist yet are ours to make. */
export function canReach(path: string, user: ServerUser): boolean {
  const parent = dirname(path);
  if (parent !== path && !canReach(parent, user)) return false;
  const stats = statSync(parent, { throwIfNoEntry: false });
  return stats === undefined || allows(stats, user, 0o1);
}

/** True when `user` can reach, read and enter (or execute) `path`. */
export function canUse(path: string, user: ServerUser): boolean {
  const stats = statSync(path, { throwIfNoEntry: false });
  return stats !== undefined && allows(stats, user, 0o5) && canReach(path, user);
}

function allows(stats: Stats, user: ServerUser, bits: number): boolean {
  const shift = stats.uid === user.uid ? 6 : stats.gid === user.gid ? 3 : 0;
  return ((stats.mode >> shift) & bits) === bits;
}
