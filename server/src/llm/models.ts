/** A model that a caller may name, as `GET /v1/models` lists it. */
export interface ListedModel {
  readonly id: string;
  readonly displayName: string;
  /** Milliseconds since the Unix epoch; 0 where it is not known. */
  readonly createdAtMs: number;
  readonly ownedBy: string;
}
