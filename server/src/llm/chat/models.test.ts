import OpenAI from 'openai';
import { describe, expect, it } from 'vitest';
import { modelList } from './models.ts';

describe('the list of models', () => {
  it('is read by the SDK, with every member that its type has', async () => {
    const models = [{ id: 'fast', displayName: 'Fast', createdAtMs: 1_767_323_045_678, ownedBy: 'us' }];
    const expected: OpenAI.Model = { object: 'model', id: 'fast', created: 1_767_323_045, owned_by: 'us' };
    const client = new OpenAI({ apiKey: 'x', fetch: async () => Response.json(JSON.parse(modelList(models))) });
    expect(await Array.fromAsync(client.models.list())).toEqual([expected]);
  });

  it('may be empty', () => {
    expect(JSON.parse(modelList([]))).toEqual({ object: 'list', data: [] });
  });
});
