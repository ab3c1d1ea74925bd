import { readFileSync, statSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { Command } from 'commander';
import { PriceBook } from '../budget/prices/price-book.ts';
import { withDotEnv } from '../config/environment.ts';
import {
  checkConfigText,
  configFileFor,
  printDifference,
  readConfigFile,
  replaceConfigFile,
  sayWhatNext,
} from './config-file-edit.ts';
import { CliError, type CliContext } from './context.ts';
import { readLiteLlmFile } from './import/litellm-file.ts';
import { importLiteLlm } from './import/litellm-routes.ts';
import type { Outcome } from './import/outcome.ts';
import { printLine, printNote, printTable } from './output.ts';
import { addEntries, providersIn } from './provider-edit.ts';

const fileBytesMax = 1024 * 1024;

/** `portcullis import`: takes over what other gateways are configured with. */
export function importCommand(context: CliContext): Command {
  return new Command('import').description("take over another gateway's configuration").addCommand(
    new Command('litellm')
      .description("LiteLLM's config.yaml: models, fallbacks, prices; lists what has no counterpart")
      .argument('<file>', "LiteLLM's config.yaml")
      .option('--write', 'write it into the configuration file; without it nothing is changed')
      .action((file: string, options: { write?: true }) => importFile(context, file, options.write === true)),
  );
}

function importFile(context: CliContext, file: string, write: boolean): void {
  const environment = withDotEnv(context.environment, join(context.cwd, '.env'));
  const path = configFileFor(context, environment);
  const before = readConfigFile(path);
  const book = new PriceBook();
  const { outcome, providers, models } = importLiteLlm(
    readLiteLlmFile(readForeign(resolve(context.cwd, file))),
    providersIn(before),
    (kind, model) => book.price({ kind, provider: '', baseModel: null }, model, Date.now()) !== null,
  );
  printOutcome(context, outcome);
  const { text, kept } = addEntries(before, { providers, models });
  const unset = checkConfigText(text, environment);
  if (kept.length > 0) printNote(context, `These have a route already, which stays: ${kept.join(', ')}`);
  if (text === before) return printLine(context, 'There is nothing to add.');
  printLine(context, '');
  printDifference(context, before, text);
  for (const sentence of outcome.todo) printNote(context, `To do: ${sentence}`);
  if (!write) return printNote(context, `${path} was left as it is: --write writes it.`);
  replaceConfigFile(path, text);
  sayWhatNext(context, path, unset);
}

function printOutcome(context: CliContext, { mapped, unmapped }: Outcome): void {
  printTable(
    context,
    [
      { title: 'MAPPED', whole: true },
      { title: 'TO', whole: true },
    ],
    mapped.map(({ from, to }) => [from, to]),
    'Nothing could be mapped.',
  );
  if (unmapped.length === 0) return;
  printLine(context, '');
  printTable(
    context,
    [
      { title: 'NOT MAPPED', whole: true },
      { title: 'WHY', whole: true },
    ],
    unmapped.map(({ what, why }) => [what, why]),
    '',
  );
}

function readForeign(path: string): string {
  try {
    if (statSync(path).size > fileBytesMax) throw new CliError(`${path} is larger than a configuration is.`);
    return readFileSync(path, 'utf8');
  } catch (error) {
    if (error instanceof CliError) throw error;
    throw new CliError(`${path} cannot be read.`);
  }
}
