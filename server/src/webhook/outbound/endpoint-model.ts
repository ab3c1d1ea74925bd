import type { EventType } from '../../outbox/catalogue.ts';

export const endpointStates = ['unverified', 'active', 'disabled'] as const;
export const disabledReasons = ['operator', 'gone', 'failing'] as const;
export type EndpointState = (typeof endpointStates)[number];
export type DisabledReason = (typeof disabledReasons)[number];

/** What of an endpoint people write. */
export interface EndpointContent {
  readonly url: string;
  readonly description: string;
  /** None is every type of the catalogue. */
  readonly eventTypes: readonly EventType[];
  /** Deliveries begun in a second; null is as fast as it answers. */
  readonly ratePerS: number | null;
  /** Whether events with one key are delivered in their order. */
  readonly ordered: boolean;
}

/** The challenge of an endpoint whose URL was not verified. Times here and below are epoch milliseconds. */
export interface Challenge {
  /** Its webhook-id, which the answer must have in it. */
  readonly id: string;
  readonly attempts: number;
  /** Null once it was given up, or waits for its endpoint to be enabled. */
  readonly nextAt: number | null;
  /** Why the last attempt failed; empty for none. */
  readonly error: string;
}

/** Where events are sent. */
export interface Endpoint extends EndpointContent {
  readonly id: string;
  readonly projectId: string;
  readonly state: EndpointState;
  readonly disabledReason: DisabledReason | null;
  /** Of ed25519, 32 bytes each, the newest first. */
  readonly publicKeys: readonly Buffer[];
  /** Until when the secret before the last rotation signs too; null when none does. */
  readonly oldSecretUntil: number | null;
  /** Since when nothing could be delivered to it. */
  readonly failingSince: number | null;
  /** Null once the URL was verified. */
  readonly challenge: Challenge | null;
  /** Counts its changes. */
  readonly revision: bigint;
  readonly createdBy: string;
  readonly createdAt: number;
  readonly updatedAt: number;
}

/** The etag of an endpoint as it stands. */
export function etagOf({ revision }: Pick<Endpoint, 'revision'>): string {
  return revision.toString();
}

/** What of a URL the audit log may keep: paths and queries hold secrets. */
export function hostOf(url: string): string {
  return new URL(url).host;
}
