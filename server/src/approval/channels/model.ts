import type { Approval } from '../model.ts';

/** A message that is to be sent: one a request, channel and person. */
export interface Message {
  readonly approvalId: string;
  readonly channel: string;
  /** Whom it is for; null: all who read the channel. */
  readonly personId: string | null;
  /** From 1: which try this is. */
  readonly tries: number;
}

/** Where a message leads. */
export interface Lead {
  readonly url: string;
  /** Whether the URL itself lets the one person whom it is for decide; else it leads to a page that asks who they are. */
  readonly decides: boolean;
  /** Epoch milliseconds at which it ends. */
  readonly endsAt: number;
}

/** What came of a try. `retry` may name when to come back, in milliseconds. */
export type Sent =
  | { readonly outcome: 'sent' }
  | { readonly outcome: 'failed'; readonly note: string }
  | { readonly outcome: 'retry'; readonly note: string; readonly afterMs?: number };

/** A way to tell people. */
export interface Channel {
  /** `email`, or `chat:<name>`. */
  readonly name: string;
  /** Whom it tells of a request that these groups are told of. */
  readonly audience: Audience;
  /** Sends one message, within its own deadline. Never throws for what the other side does. */
  send(approval: Approval, lead: Lead, to: Recipient | null, signal: AbortSignal): Promise<Sent>;
  close(): void;
}

export interface Recipient {
  readonly id: string;
  readonly email: string;
}

/** Everyone who may decide, each with a message of their own; or those who read a place of one project; or there one person. */
export type Audience =
  | { readonly kind: 'everyone' }
  | { readonly kind: 'readers'; readonly projectId: string; readonly groups: readonly string[] }
  | { readonly kind: 'person'; readonly projectId: string; readonly email: string };
