import type { ListedModel } from '../models.ts';

/** The body of `GET /v1/models`. */
export function modelList(models: readonly ListedModel[]): string {
  const data = models.map(({ id, createdAtMs, ownedBy }) => ({
    object: 'model',
    id,
    created: Math.floor(createdAtMs / 1000),
    owned_by: ownedBy,
  }));
  return JSON.stringify({ object: 'list', data });
}
