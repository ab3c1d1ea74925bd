import Anthropic from '@anthropic-ai/sdk';
import type { ModelInfo } from '@anthropic-ai/sdk/resources/models';
import { describe, expect, it } from 'vitest';
import type { ListedModel } from '../models.ts';
import { modelList } from './models.ts';

async function listedBySdk(models: readonly ListedModel[]): Promise<ModelInfo[]> {
  const client = new Anthropic({ apiKey: 'x', fetch: async () => Response.json(JSON.parse(modelList(models))) });
  return Array.fromAsync(client.models.list());
}

describe('the list of models', () => {
  it('is read by the SDK, with every member that its type has', async () => {
    const expected: ModelInfo = {
      type: 'model',
      id: 'fast',
      display_name: 'Fast',
      created_at: '2026-01-02T03:04:05.000Z',
      capabilities: null,
      max_input_tokens: null,
      max_tokens: null,
      lifecycle: 'active',
      line: null,
      deprecated_at: null,
      retires_at: null,
    };
    const fast = { id: 'fast', displayName: 'Fast', createdAtMs: Date.UTC(2026, 0, 2, 3, 4, 5), ownedBy: 'us' };
    expect(await listedBySdk([fast])).toEqual([expected]);
    expect(JSON.parse(modelList([fast, { ...fast, id: 'slow' }]))).toMatchObject({
      has_more: false,
      first_id: 'fast',
      last_id: 'slow',
    });
  });

  it('may be empty', async () => {
    expect(await listedBySdk([])).toEqual([]);
    expect(JSON.parse(modelList([]))).toEqual({ data: [], has_more: false, first_id: null, last_id: null });
  });
});
