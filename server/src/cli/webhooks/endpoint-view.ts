import {
  WebhookDisabledReasonSchema,
  type WebhookEndpoint,
  WebhookEndpointState,
  WebhookEndpointStateSchema,
} from '../../gen/portcullis/v1/webhook_pb.ts';
import { type CliContext, CliError } from '../context.ts';
import { enumWord } from '../enum-words.ts';
import { present } from '../gate-command.ts';
import { type Column, localTime, printFields, printNote, stateFormat } from '../output.ts';

export const endpointColumns: readonly Column[] = [
  { title: 'URL' },
  { title: 'ID', whole: true },
  { title: 'STATE', format: stateFormat },
  { title: 'EVENTS' },
  { title: 'CHANGED' },
];

export function endpointRow(endpoint: WebhookEndpoint): string[] {
  return [endpoint.url, endpoint.id, stateWord(endpoint), eventsOf(endpoint), localTime(endpoint.updateTime)];
}

export function printEndpoint(context: CliContext, endpoint: WebhookEndpoint): void {
  const { challenge, disabledReason } = endpoint;
  printFields(context, [
    ['id', endpoint.id],
    ['url', endpoint.url],
    ['description', endpoint.description],
    ['project', endpoint.projectId],
    ['state', stateWord(endpoint)],
    ['disabled', disabledReason === 0 ? '' : enumWord(WebhookDisabledReasonSchema, disabledReason)],
    ['events', eventsOf(endpoint)],
    ['rate', endpoint.ratePerSecond === 0 ? '' : `${endpoint.ratePerSecond} a second`],
    ['ordered', endpoint.ordered ? 'yes' : 'no'],
    ['challenge', challenge?.error],
    ['asked again', localTime(challenge?.nextAttemptTime)],
    ['failing since', localTime(endpoint.failingSince)],
    ...endpoint.publicKeys.map((key) => ['public key', key] as const),
    ['old secret until', localTime(endpoint.oldSecretUntil)],
    ['created', localTime(endpoint.createTime)],
    ['created by', endpoint.createdBy],
    ['changed', localTime(endpoint.updateTime)],
    ['etag', endpoint.etag],
  ]);
}

/** The secret alone on standard output, so that `SECRET=$(portcullis webhooks endpoints add …)` holds it; all else beside it. */
export function announceSecret(context: CliContext, endpoint: WebhookEndpoint, secret: string): void {
  if (endpoint.state === WebhookEndpointState.UNVERIFIED) {
    printNote(context, `Endpoint ${endpoint.id} gets events once it has answered the challenge, which is on its way:`);
    printNote(context, `portcullis webhooks endpoints show ${endpoint.id}`);
  }
  if (endpoint.oldSecretUntil !== undefined)
    printNote(context, `The old secret signs too until ${localTime(endpoint.oldSecretUntil)}.`);
  printNote(context, 'This is the secret of its signatures. It is shown this once:');
  context.stdout.write(`${secret}\n`);
}

/**
 * The secret that was just made.
 * @throws CliError when the answer that had it got lost on its way: a repeated one has none
 */
export function endpointSecretOf(answer: {
  readonly endpoint?: WebhookEndpoint | undefined;
  readonly secret: string;
}): string {
  if (answer.secret !== '') return answer.secret;
  const { id } = present(answer.endpoint);
  throw new CliError(
    `The endpoint ${id} has a new secret, which got lost on its way and is never shown again: portcullis webhooks endpoints rotate ${id} --end-old`,
  );
}

function stateWord({ state }: WebhookEndpoint): string {
  return enumWord(WebhookEndpointStateSchema, state);
}

function eventsOf({ eventTypes }: WebhookEndpoint): string {
  return eventTypes.length === 0 ? 'all' : eventTypes.join(', ');
}
