import { Command } from 'commander';
import { stringify } from 'yaml';
import { loadConfig } from '../config/config.ts';
import { describeConfig } from './config-description.ts';
import { CliError, type CliContext } from './context.ts';
import { printJson, printLine, printNote } from './output.ts';

/** `portcullis config`: what a gate that started here would read. */
export function configCommand(context: CliContext): Command {
  return new Command('config')
    .description('check or print the configuration that a gate would start with here')
    .addCommand(checkCommand(context))
    .addCommand(printCommand(context));
}

function checkCommand(context: CliContext): Command {
  return new Command('check')
    .description('say whether the configuration holds, or everything that is wrong with it')
    .option('--json', 'print one JSON document')
    .action((options: { json?: true }) => {
      const { problems, notes } = loadConfig(context.environment, context.cwd);
      if (options.json) printJson(context, { valid: problems.length === 0, problems, notes });
      else {
        for (const note of notes) printNote(context, `note: ${note}`);
        for (const problem of problems) printLine(context, `problem: ${problem}`);
        if (problems.length === 0) printLine(context, 'Configuration validation: ok');
      }
      if (problems.length > 0) throw new CliError(`Configuration validation: failed (${problems.length}).`);
    });
}

function printCommand(context: CliContext): Command {
  return new Command('print')
    .description('print every option (defaults behind a #) and the configuration file; secrets are left out')
    .option('--json', 'print one JSON document')
    .action((options: { json?: true }) => {
      const description = describeConfig(context.environment, context.cwd);
      if (options.json) return printJson(context, description);
      let group = '';
      for (const option of description.options) {
        if (option.group !== group) context.stdout.write(`${group === '' ? '' : '\n'}# ${option.group}\n`);
        group = option.group;
        printLine(context, `${option.isDefault ? '# ' : ''}${option.name}=${option.value}`);
      }
      if (description.file === null) return printNote(context, 'There is no configuration file that can be read.');
      context.stdout.write('\n# The configuration file\n');
      for (const line of stringify(description.file, { lineWidth: 0 }).trimEnd().split('\n')) printLine(context, line);
    });
}
