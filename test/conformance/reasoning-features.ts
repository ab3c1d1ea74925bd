import { type Members, adapted, hint, mapped, partly, refused, refusedWith } from './outcome.ts';
import type { RequestFeature } from './request-matrix.ts';

/** How the model is to think, and the form of what it says. */

const schema = { type: 'object', properties: { city: { type: 'string' } }, required: ['city'] };

const budget: Members = { thinking: { type: 'enabled', budget_tokens: 2048 } };
const lowest = 'as the lowest effort there is';
const asEffort = 'as the effort that is nearest';

export const reasoningFeatures: readonly RequestFeature[] = [
  {
    name: 'an effort of reasoning',
    says: {
      anthropic: { thinking: { type: 'adaptive' }, output_config: { effort: 'high' } },
      chat: { reasoning_effort: 'high' },
      responses: { reasoning: { effort: 'high' } },
    },
    expected: mapped,
    throughGate: true,
  },
  {
    name: 'the least effort',
    says: { chat: { reasoning_effort: 'minimal' }, responses: { reasoning: { effort: 'minimal' } } },
    expected: {
      chat: { anthropic: adapted(lowest, low()), responses: mapped },
      responses: { anthropic: adapted(lowest, low()), chat: mapped },
    },
  },
  {
    name: 'no reasoning',
    says: {
      anthropic: { thinking: { type: 'disabled' } },
      chat: { reasoning_effort: 'none' },
      responses: { reasoning: { effort: 'none' } },
    },
    expected: mapped,
  },
  {
    name: 'a budget of tokens for reasoning',
    says: { anthropic: budget },
    expected: {
      anthropic: {
        chat: adapted(asEffort, { reasoning_effort: 'low' }),
        responses: adapted(asEffort, { reasoning: { effort: 'low' } }),
      },
    },
  },
  {
    name: 'an effort, to a model that is told a budget',
    model: { reasoning: 'budget' },
    says: {
      chat: { reasoning_effort: 'low' },
      responses: { reasoning: { effort: 'low' } },
    },
    expected: {
      chat: { anthropic: asBudget(), responses: mapped },
      responses: { anthropic: asBudget(), chat: mapped },
    },
  },
  {
    name: 'an effort, to a model that is told nothing',
    model: { reasoning: 'none' },
    says: {
      anthropic: { output_config: { effort: 'high' } },
      chat: { reasoning_effort: 'high' },
      responses: { reasoning: { effort: 'high' } },
    },
    expected: hint('reasoning'),
  },
  {
    name: 'an effort together with a temperature',
    says: {
      chat: { reasoning_effort: 'high', temperature: 0.5 },
      responses: { reasoning: { effort: 'high' }, temperature: 0.5 },
    },
    expected: {
      chat: { anthropic: temperatureFirst(), responses: mapped },
      responses: { anthropic: temperatureFirst(), chat: mapped },
    },
  },
  {
    name: 'a readable form of the reasoning',
    says: {
      anthropic: { thinking: { type: 'adaptive', display: 'summarized' } },
      responses: { reasoning: { summary: 'auto' } },
    },
    expected: {
      anthropic: { chat: alwaysShown(), responses: mapped },
      responses: { anthropic: mapped, chat: alwaysShown() },
    },
  },
  {
    name: 'the length of the readable form',
    says: { responses: { reasoning: { summary: 'detailed' } } },
    expected: {
      responses: {
        anthropic: partly(['reasoning.summary'], 'a readable form is asked for', {
          thinking: { type: 'adaptive', display: 'summarized' },
        }),
        chat: hint('reasoning.summary'),
      },
    },
  },
  {
    name: 'no readable form of the reasoning',
    says: { anthropic: { thinking: { type: 'adaptive', display: 'omitted' } } },
    expected: {
      anthropic: {
        chat: hint('reasoning'),
        responses: adapted('nothing is said, as nothing is shown unless it is asked for', {}),
      },
    },
  },
  {
    name: 'no reasoning, to a model that is told nothing',
    model: { reasoning: 'none' },
    says: {
      anthropic: { thinking: { type: 'disabled' } },
      chat: { reasoning_effort: 'none' },
      responses: { reasoning: { effort: 'none' } },
    },
    expected: {
      anthropic: hint('reasoning'),
      chat: { anthropic: alwaysSilent(), responses: hint('reasoning') },
      responses: { anthropic: alwaysSilent(), chat: hint('reasoning') },
    },
  },
];

function alwaysSilent() {
  return adapted('nothing is said: the model does not think unless it is told to', {});
}

function low(): Members {
  return { thinking: { type: 'adaptive' }, output_config: { effort: 'low' } };
}

function temperatureFirst() {
  return partly(['reasoning'], 'the temperature goes before it, as the two exclude each other there', {
    temperature: 0.5,
  });
}

function asBudget() {
  const thinking = { type: 'enabled', budget_tokens: 2000 };
  return adapted('as a budget of tokens, at most half of the output limit', { thinking });
}

function alwaysShown() {
  return adapted('nothing is said: a chat server shows what it shows', {});
}

const format = { type: 'json_schema', schema };
const optional = { type: 'object', properties: { city: { type: 'string' } } };
const loose = { name: 'output', schema: optional, strict: false };

export const formFeatures: readonly RequestFeature[] = [
  {
    name: 'an answer of a JSON Schema',
    says: {
      anthropic: { output_config: { format } },
      chat: { response_format: { type: 'json_schema', json_schema: { name: 'output', schema, strict: true } } },
      responses: { text: { format: { type: 'json_schema', name: 'output', schema, strict: true } } },
    },
    expected: {
      anthropic: adapted('with a name, which is demanded there'),
      chat: { anthropic: adapted('without a name, which there is none for'), responses: mapped },
      responses: { anthropic: adapted('without a name, which there is none for'), chat: mapped },
    },
    throughGate: true,
  },
  {
    name: 'an answer of a JSON Schema with members that may be left out',
    says: { anthropic: { output_config: { format: { type: 'json_schema', schema: optional } } } },
    expected: {
      anthropic: {
        chat: notHeld({ response_format: { type: 'json_schema', json_schema: loose } }),
        responses: notHeld({ text: { format: { type: 'json_schema', ...loose } } }),
      },
    },
  },
  {
    name: 'an answer of any JSON object',
    says: {
      chat: { response_format: { type: 'json_object' } },
      responses: { text: { format: { type: 'json_object' } } },
    },
    expected: {
      chat: { anthropic: noObject('response_format'), responses: mapped },
      responses: { anthropic: noObject('text.format'), chat: mapped },
    },
  },
  {
    name: 'verbosity',
    says: { chat: { verbosity: 'low' }, responses: { text: { verbosity: 'low' } } },
    expected: {
      chat: { anthropic: hint('verbosity'), responses: mapped },
      responses: { anthropic: hint('verbosity'), chat: mapped },
    },
  },
  {
    name: 'speech',
    says: { chat: { modalities: ['text', 'audio'], audio: { voice: 'alloy', format: 'wav' } } },
    expected: { chat: refusedWith(['modalities', 'audio']) },
  },
];

function notHeld(sent: Members) {
  const how = 'not strict, since there every member would have to be required';
  return partly(['output_format.strict'], how, sent);
}

function noObject(param: string) {
  return refused(param, 'asks for any JSON object, and the model behind this name needs a JSON Schema for it');
}
