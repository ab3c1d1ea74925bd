/** What is emitted, and to how many endpoints. */
export interface Workload {
  readonly name: string;
  readonly about: string;
  /** Endpoints that answer at once, and those that take the connection and never answer. */
  readonly endpoints: number;
  readonly dead: number;
  readonly ordered: boolean;
  /** Events emitted in a second; null is as fast as they are taken. */
  readonly eventsPerS: number | null;
}

const plain = { endpoints: 10, dead: 0, ordered: false, eventsPerS: null };

export const workloads: readonly Workload[] = [
  { ...plain, name: 'spread', about: 'each event to 10 endpoints' },
  { ...plain, name: 'one', about: 'each event to one endpoint', endpoints: 1 },
  { ...plain, name: 'ordered', about: 'to 10 endpoints that want order, 50 keys', ordered: true },
  { ...plain, name: 'beside-dead', about: 'to 10 endpoints beside 10 that never answer', dead: 10 },
  { ...plain, name: 'paced', about: '20 events a second to 10 endpoints', eventsPerS: 20 },
];

/** Deliveries of a measurement that is not paced, for each second that it is to take. */
export const deliveriesPerSecond = 1_000;
export const keys = 50;
/** Events of one transaction. */
export const eventsPerTransaction = 20;
/** Processes that deliver. */
export const processes = 2;
