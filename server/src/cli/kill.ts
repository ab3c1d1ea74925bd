import { Command } from 'commander';
import type { CliContext } from './context.ts';
import { drillCommand, onCommand } from './kill/engage.ts';
import { confirmCommand, offCommand } from './kill/release.ts';
import { listSwitchesCommand, statusCommand } from './kill/status.ts';

/** `portcullis kill`: stop work now, see that it stopped, and let it go on. */
export function killCommand(context: CliContext): Command {
  return new Command('kill')
    .description('stop work: new calls are refused and streams in flight end')
    .addCommand(onCommand(context))
    .addCommand(offCommand(context))
    .addCommand(confirmCommand(context))
    .addCommand(listSwitchesCommand(context))
    .addCommand(statusCommand(context))
    .addCommand(drillCommand(context));
}
