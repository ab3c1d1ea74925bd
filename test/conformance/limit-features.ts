import { hint, refused } from './outcome.ts';
import type { RequestFeature } from './request-matrix.ts';

/** What a model behind a name cannot do, as its capabilities say, is refused for every dialect alike. */

const schema = { type: 'object', properties: { city: { type: 'string' } }, required: ['city'] };

const tool = {
  anthropic: { tools: [{ name: 'f', input_schema: schema, strict: true }] },
  chat: { tools: [{ type: 'function', function: { name: 'f', parameters: schema, strict: true } }] },
  responses: { tools: [{ type: 'function', name: 'f', parameters: schema, strict: true }] },
};

export const limitFeatures: readonly RequestFeature[] = [
  {
    name: 'an image, to a model that takes none',
    model: { images: false },
    says: {
      anthropic: {
        messages: [
          {
            role: 'user',
            content: [
              { type: 'image', source: { type: 'url', url: 'https://example.com/a.png' } },
              { type: 'text', text: 'Hi' },
            ],
          },
        ],
      },
      chat: {
        messages: [
          {
            role: 'user',
            content: [
              { type: 'image_url', image_url: { url: 'https://example.com/a.png' } },
              { type: 'text', text: 'Hi' },
            ],
          },
        ],
      },
      responses: {
        input: [
          {
            role: 'user',
            content: [
              { type: 'input_image', image_url: 'https://example.com/a.png' },
              { type: 'input_text', text: 'Hi' },
            ],
          },
        ],
      },
    },
    expected: refused('image', 'is in the conversation, and the model behind this name takes none'),
  },
  {
    name: 'tools, to a model that calls none',
    model: { tools: false },
    says: tool,
    expected: refused('tools', 'are given, and the model behind this name calls none'),
  },
  {
    name: 'a strict tool, to a model that knows plain schemas alone',
    model: { toolSchemas: 'basic' },
    says: tool,
    sent: {
      anthropic: { tools: [{ name: 'f', input_schema: schema }] },
      chat: { tools: [{ type: 'function', function: { name: 'f', parameters: schema } }] },
      responses: { tools: [{ type: 'function', name: 'f', parameters: schema, strict: false }] },
    },
    expected: hint('tools.strict'),
  },
  {
    name: 'a JSON Schema, to a model that holds to none',
    model: { structuredOutput: false },
    says: {
      anthropic: { output_config: { format: { type: 'json_schema', schema } } },
      chat: { response_format: { type: 'json_schema', json_schema: { name: 'output', schema } } },
      responses: { text: { format: { type: 'json_schema', name: 'output', schema } } },
    },
    expected: {
      anthropic: noFormat('output_config.format'),
      chat: noFormat('response_format'),
      responses: noFormat('text.format'),
    },
  },
  {
    name: 'a temperature, to a model that takes none',
    model: { sampling: false },
    says: { anthropic: { temperature: 0.7 }, chat: { temperature: 0.7 }, responses: { temperature: 0.7 } },
    expected: refused('temperature', 'is not taken by the model behind this name'),
  },
];

function noFormat(param: string) {
  return refused(param, 'asks for structured output, which the model behind this name does not give');
}
