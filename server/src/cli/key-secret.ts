import type { Key } from '../gen/portcullis/v1/agent_pb.ts';
import { CliError } from './context.ts';
import { present } from './gate-command.ts';

/**
 * The secret of a key that was just made.
 * @throws CliError when the answer that had it got lost on its way: a repeated one has none
 */
export function secretOf({ key, secret }: { readonly key?: Key | undefined; readonly secret: string }): string {
  if (secret !== '') return secret;
  const { id } = present(key);
  throw new CliError(
    `The key ${id} was made, but its secret got lost on its way and is never shown again: revoke that key and make another, or have it replaced: portcullis keys rotate ${id} --overlap 0`,
  );
}
