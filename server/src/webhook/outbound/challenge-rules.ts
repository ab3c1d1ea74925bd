import { messageBody } from '../../outbox/message.ts';

const challengeType = 'webhook.verification';

/** The body of a challenge: like that of an event, with its own id to be given back. @param nowMs epoch milliseconds */
export function challengeBody(
  { id, endpointId, projectId }: { readonly id: string; readonly endpointId: string; readonly projectId: string },
  nowMs: number,
): string {
  const data = JSON.stringify({ challenge: id, endpoint_id: endpointId });
  return messageBody({ type: challengeType, version: 1, projectId, occurredAt: nowMs, data });
}

/**
 * Why an answer does not verify its endpoint; null where it does: 2xx, and its body is the id alone or a JSON object whose
 * `challenge` is the id. What merely reflects a request does not pass.
 */
export function refusalOf(status: number, body: string, id: string): string | null {
  if (status < 200 || status > 299) return `It answered ${status}, not 2xx.`;
  return body.trim() === id || challengeIn(body) === id
    ? null
    : 'Its answer does not have the challenge: answer {"challenge": "<data.challenge>"}.';
}

function challengeIn(body: string): unknown {
  try {
    const answer: unknown = JSON.parse(body);
    return typeof answer === 'object' && answer !== null && 'challenge' in answer ? answer.challenge : null;
  } catch {
    return null;
  }
}
