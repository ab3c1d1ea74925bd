import { type Config, loadConfig } from '../config/config.ts';
import { CliError, type CliContext } from './context.ts';

/**
 * The configuration that a gate starts with. Says `Configuration validation: ok` or each problem, on standard error.
 * Production refuses to start on a problem; development goes on without what does not hold, and says so.
 * @throws CliError in production, when anything is wrong
 */
export function configurationFor(context: CliContext): Config {
  const { config, problems, notes } = loadConfig(context.environment, context.cwd);
  for (const note of notes) context.stderr.write(`note: ${note}\n`);
  for (const problem of problems) context.stderr.write(`problem: ${problem}\n`);
  if (problems.length === 0) context.stderr.write('Configuration validation: ok\n');
  else if (config.production)
    throw new CliError(`Configuration validation: failed (${problems.length}). Nothing was started.`);
  else context.stderr.write('Configuration validation: degraded; production would refuse to start.\n');
  return config;
}
