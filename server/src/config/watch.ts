import { type StatsListener, unwatchFile, watchFile } from 'node:fs';
import { type Config, reloadConfigFile } from './config.ts';
import type { Findings } from './environment.ts';
import type { ConfigFile } from './file.ts';

const lookEveryMs = 1_000;

export interface Watched {
  readonly environment: Readonly<Record<string, string | undefined>>;
  readonly cwd: string;
  /** Puts a file that holds into force; what it throws is a problem of the file. */
  readonly use: (file: ConfigFile) => void;
  /** Told why a file does not hold; what was in force stays. */
  readonly refuse: (problems: readonly string[]) => void;
}

/**
 * Reads the configuration file again on SIGHUP and when it changes.
 * @returns ends the watching
 */
export function watchConfigFile(config: Config, { environment, cwd, use, refuse }: Watched): () => void {
  const path = config.options.CONFIG_FILE;
  const reload = () => {
    const findings: Findings = { problems: [], notes: [] };
    try {
      const file = reloadConfigFile(config, environment, cwd, findings);
      if (!file) return refuse(findings.problems);
      use(file);
    } catch (error) {
      refuse([error instanceof Error ? error.message : String(error)]);
    }
  };
  // A file that is not there is reported once although nothing changed.
  const changed: StatsListener = (now, before) => {
    if (now.mtimeMs !== before.mtimeMs) reload();
  };
  process.on('SIGHUP', reload);
  watchFile(path, { interval: lookEveryMs, persistent: false }, changed);
  return () => {
    process.off('SIGHUP', reload);
    unwatchFile(path, changed);
  };
}
