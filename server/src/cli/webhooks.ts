import { Command } from 'commander';
import type { CliContext } from './context.ts';
import { deliveriesCommand, redeliverCommand, testCommand } from './webhooks/deliveries.ts';
import { endpointsCommand } from './webhooks/endpoints.ts';
import { eventsCommand } from './webhooks/events.ts';

/** `portcullis webhooks`: where events are sent, and what was delivered. */
export function webhooksCommand(context: CliContext): Command {
  return new Command('webhooks')
    .description('have events sent to URLs, and see what was delivered')
    .addCommand(endpointsCommand(context))
    .addCommand(deliveriesCommand(context))
    .addCommand(redeliverCommand(context))
    .addCommand(testCommand(context))
    .addCommand(eventsCommand(context));
}
