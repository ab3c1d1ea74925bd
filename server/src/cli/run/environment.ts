import { join, resolve } from 'node:path';
import { isLoopback } from '../../config/production.ts';
import { withheldVariables } from './provider-variables.ts';
import { type Access, anyCommand, type Tool } from './tools.ts';

type Environment = Readonly<Record<string, string | undefined>>;

/** What a command of a run is started with. */
export interface CommandEnvironment {
  readonly environment: Readonly<Record<string, string>>;
  /** Variables of the caller that it does not get, and gets no other value for. */
  readonly withheld: readonly string[];
  /** Variables that were to be kept and are not, since the run has its own value for them, or the tool must have none. */
  readonly notKept: readonly string[];
}

/**
 * The caller's environment without what would lead around the gate, and with what leads to it.
 * @param keep variables to hand on that would else be withheld
 */
export function commandEnvironment(
  caller: Environment,
  tool: Tool | null,
  access: Access,
  keep: readonly string[],
): CommandEnvironment {
  const withholds = (name: string) => withheldVariables.has(name) && !keep.includes(name);
  const kept = Object.entries(withoutLauncher(caller)).flatMap(([name, value]) =>
    value === undefined || withholds(name) ? [] : [[name, value] as const],
  );
  const environment: Record<string, string> = {
    ...tool?.prefers?.(access),
    ...Object.fromEntries(kept),
    ...directToLoopback(caller, access.url),
    ...anyCommand.sets(access),
    ...tool?.sets(access),
  };
  for (const name of tool?.removes ?? []) delete environment[name];
  const replaced = new Set([...Object.keys(environment), ...(tool?.removes ?? [])]);
  const withheld = Object.keys(caller).filter(
    (name) => caller[name] !== undefined && withholds(name) && !replaced.has(name),
  );
  const notKept = keep.filter((name) => caller[name] !== undefined && environment[name] !== caller[name]);
  return { environment, withheld, notKept };
}

/** What bin/portcullis sets for this program is not meant for the command, which may read variables of these names. */
function withoutLauncher(caller: Environment): Environment {
  const installation = resolve(import.meta.dirname, '../../../..');
  const { DATA_DIR, CONFIG_FILE, ...rest } = caller;
  return {
    ...rest,
    ...(DATA_DIR === join(installation, 'data') ? {} : { DATA_DIR }),
    ...(CONFIG_FILE === join(installation, 'portcullis.yaml') ? {} : { CONFIG_FILE }),
  };
}

/** A proxy for the internet must not get the key of a gate on this machine, nor could it reach it. */
function directToLoopback(caller: Environment, url: string): Record<string, string> {
  const { hostname } = new URL(url);
  const proxied = ['HTTP_PROXY', 'http_proxy', 'ALL_PROXY', 'all_proxy'].some((name) => caller[name]);
  if (!proxied || !isLoopback(hostname)) return {};
  const names = [caller['NO_PROXY'] ?? caller['no_proxy'] ?? '', hostname].filter((name) => name !== '').join(',');
  return { NO_PROXY: names, no_proxy: names };
}
