import type { ListedModel } from '../models.ts';

/** The body of `GET /v1/models`, in one page. What the gate does not know of a model is null, as the vendor's type allows. */
export function modelList(models: readonly ListedModel[]): string {
  const data = models.map(({ id, displayName, createdAtMs }) => ({
    type: 'model',
    id,
    display_name: displayName,
    created_at: new Date(createdAtMs).toISOString(),
    capabilities: null,
    max_input_tokens: null,
    max_tokens: null,
    lifecycle: 'active',
    line: null,
    deprecated_at: null,
    retires_at: null,
  }));
  return JSON.stringify({ data, has_more: false, first_id: data[0]?.id ?? null, last_id: data.at(-1)?.id ?? null });
}
