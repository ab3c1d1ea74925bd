/** An event as it is stored. */
export interface StoredEvent {
  readonly type: string;
  readonly version: number;
  readonly projectId: string | null;
  /** Epoch milliseconds. */
  readonly occurredAt: number;
  /** JSON. */
  readonly data: string;
}

/** The body that every endpoint gets for an event: the same bytes at each attempt. */
export function messageBody({ type, version, projectId, occurredAt, data }: StoredEvent): string {
  const timestamp = new Date(occurredAt).toISOString();
  return `${JSON.stringify({ type, version, timestamp, project_id: projectId }).slice(0, -1)},"data":${data}}`;
}
