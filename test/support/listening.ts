import { readdirSync, readFileSync, readlinkSync } from 'node:fs';

const listenState = '0A';

/**
 * Where a process listens, as Linux says: `127.0.0.1:8080`, `[::1]:8080`, sorted. The table of sockets is that of the whole
 * network namespace; which of them are the process's say its file descriptors.
 */
export function listeningSockets(pid: number): string[] {
  const own = new Set(
    readdirSync(`/proc/${pid}/fd`).flatMap((fd) => {
      const [, inode] = /^socket:\[(\d+)\]$/.exec(readlinkSync(`/proc/${pid}/fd/${fd}`)) ?? [];
      return inode === undefined ? [] : [inode];
    }),
  );
  return ['tcp', 'tcp6']
    .flatMap((table) => readFileSync(`/proc/${pid}/net/${table}`, 'utf8').trim().split('\n').slice(1))
    .map((line) => line.trim().split(/\s+/))
    .filter((columns) => columns[3] === listenState && own.has(columns[9] ?? ''))
    .map((columns) => readAddress(columns[1] ?? ''))
    .sort();
}

/** Whether anything on this machine listens on a port. */
export function isPortTaken(port: number): boolean {
  const suffix = `:${port.toString(16).toUpperCase().padStart(4, '0')}`;
  return ['tcp', 'tcp6'].some((table) =>
    readFileSync(`/proc/net/${table}`, 'utf8')
      .split('\n')
      .some((line) => {
        const [, local = '', , state] = line.trim().split(/\s+/);
        return state === listenState && local.endsWith(suffix);
      }),
  );
}

/** `0100007F:1F90` is 127.0.0.1:8080: words of four bytes, each as a little-endian machine holds it. */
function readAddress(text: string): string {
  const [address = '', port = ''] = text.split(':');
  const bytes = (address.match(/.{8}/g) ?? []).flatMap((word) => [...Buffer.from(word, 'hex')].toReversed());
  const number = Number.parseInt(port, 16);
  if (bytes.length === 4) return `${bytes.join('.')}:${number}`;
  const groups = Array.from({ length: 8 }, (_, n) => ((bytes[2 * n] ?? 0) << 8) | (bytes[2 * n + 1] ?? 0));
  return `[${new URL(`http://[${groups.map((group) => group.toString(16)).join(':')}]`).hostname.slice(1, -1)}]:${number}`;
}
