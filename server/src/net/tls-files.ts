import { type StatsListener, unwatchFile, watchFile } from 'node:fs';
import type { Clock } from '../base/clock.ts';
import { tlsFilesAgainMs, tlsFilesEveryMs, tlsFilesSettleMs } from '../base/limits.ts';
import { type TlsFiles, type TlsMaterial, loadTlsMaterial } from './tls-material.ts';

export interface TlsFilesOptions {
  readonly files: TlsFiles;
  readonly clock: Clock;
  /** Puts new material into force. */
  readonly use: (material: TlsMaterial) => void;
  /** Told why new files do not hold; what was in force stays. */
  readonly refuse: (error: unknown) => void;
}

/**
 * TLS material as new as its files: a change of them is read once it has settled. What does not hold changes nothing, and
 * is read again later, since it may only not be in force yet.
 */
export class WatchedTlsFiles {
  readonly #options: TlsFilesOptions;
  #current: TlsMaterial;
  #isCurrent = true;
  #next: NodeJS.Timeout | undefined;

  /** @throws PortcullisError invalid_argument when the files do not hold */
  constructor(options: TlsFilesOptions) {
    this.#options = options;
    this.#current = loadTlsMaterial(options.files, options.clock.now());
  }

  get current(): TlsMaterial {
    return this.#current;
  }

  /** `outdated`: the files say something else, which does not hold. */
  get status(): 'ok' | 'outdated' | 'expired' {
    const { server } = this.#current;
    if (server && server.validTo <= this.#options.clock.now()) return 'expired';
    return this.#isCurrent ? 'ok' : 'outdated';
  }

  /** @returns ends the watching */
  start(): () => void {
    const { server, bundle } = this.#options.files;
    const paths = [bundle, ...(server ? [server.certificate, server.key] : [])].map(({ path }) => path);
    const changed: StatsListener = (now, before) => {
      if (now.mtimeMs !== before.mtimeMs || now.ino !== before.ino || now.size !== before.size)
        this.#reloadIn(tlsFilesSettleMs);
    };
    for (const path of paths) watchFile(path, { interval: tlsFilesEveryMs, persistent: false }, changed);
    const reload = () => this.#reload();
    process.on('SIGHUP', reload);
    return () => {
      process.off('SIGHUP', reload);
      clearTimeout(this.#next);
      for (const path of paths) unwatchFile(path, changed);
    };
  }

  // A certificate and its key are two files, which nobody replaces at once.
  #reloadIn(ms: number): void {
    clearTimeout(this.#next);
    this.#next = setTimeout(() => this.#reload(), ms);
  }

  #reload(): void {
    const { files, clock, use, refuse } = this.#options;
    try {
      const material = loadTlsMaterial(files, clock.now());
      use(material);
      this.#current = material;
      this.#isCurrent = true;
    } catch (error) {
      this.#isCurrent = false;
      this.#reloadIn(tlsFilesAgainMs);
      refuse(error);
    }
  }
}
