import { approvalMessageMs } from '../../base/approval-limits.ts';
import type { Egress } from '../../net/egress/egress.ts';
import { EgressError } from '../../net/egress/model.ts';
import type { Approval } from '../model.ts';
import type { Audience, Channel, Lead, Sent } from './model.ts';
import { chatPayload } from './wording.ts';

export interface ChatOptions {
  readonly name: string;
  /** An incoming webhook in Slack's format: whoever knows it can post. */
  readonly url: string;
  readonly audience: Audience;
}

const answerBytesMax = 4_096;
const retryAfterMsMax = 3_600_000;

/** Messages to a place in a chat, by its incoming webhook. */
export function createChat(egress: Egress, { name, url, audience }: ChatOptions): Channel {
  const channel = `chat:${name}`;
  return {
    name: channel,
    audience,
    async send(approval: Approval, lead: Lead, _to: unknown, signal: AbortSignal): Promise<Sent> {
      try {
        const { status, headers } = await egress.request({
          owner: 'approval',
          share: channel,
          url,
          writtenBy: 'operator',
          method: 'POST',
          headers: { 'content-type': 'application/json' },
          body: JSON.stringify(chatPayload(approval, lead)),
          timeoutMs: approvalMessageMs,
          responseBytesMax: answerBytesMax,
          take: 'start',
          signal,
        });
        return outcomeOf(status, headers['retry-after']);
      } catch (error) {
        if (!(error instanceof EgressError)) throw error;
        return { outcome: error.refused && error.reason !== 'unresolved' ? 'failed' : 'retry', note: error.reason };
      }
    },
    close: () => undefined,
  };
}

function outcomeOf(status: number, retryAfter: unknown): Sent {
  const note = `status ${status}`;
  if (status >= 200 && status < 300) return { outcome: 'sent' };
  if (status !== 429 && status !== 408 && status < 500) return { outcome: 'failed', note };
  const afterS = typeof retryAfter === 'string' && /^\d{1,6}$/.test(retryAfter) ? Number(retryAfter) : 0;
  return { outcome: 'retry', note, ...(afterS > 0 && { afterMs: Math.min(afterS * 1000, retryAfterMsMax) }) };
}
