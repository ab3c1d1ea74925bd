import { type EventType, eventVersion, exampleData } from './catalogue.ts';
import { messageBody } from './message.ts';

const projectId = 'prj_01k9zq3m4x0000000000000000';
const occurredAt = Date.UTC(2026, 10, 23, 10, 5, 12, 345);

/** An example of the body that an endpoint gets for an event of this type. */
export function exampleBody(type: EventType): string {
  const data = JSON.stringify(exampleData(type));
  return messageBody({ type, version: eventVersion(type), projectId, occurredAt, data });
}
