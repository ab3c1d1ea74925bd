import { adapted, mapped, refused, refusedWith } from './outcome.ts';
import type { RequestFeature } from './request-matrix.ts';

/** Sampling, limits, and where an answer is to stop. */

export const samplingFeatures: readonly RequestFeature[] = [
  {
    name: 'a streamed answer',
    says: { anthropic: { stream: true }, chat: { stream: true }, responses: { stream: true } },
    sent: { chat: { stream: true, stream_options: { include_usage: true } } },
    expected: mapped,
    throughGate: true,
  },
  {
    name: 'the output limit by its older name',
    says: { chat: { max_completion_tokens: undefined, max_tokens: 7 } },
    sent: { anthropic: { max_tokens: 7 }, responses: { max_output_tokens: 7 } },
    expected: { chat: mapped },
  },
  {
    name: 'no output limit',
    says: { chat: { max_completion_tokens: undefined }, responses: { max_output_tokens: undefined } },
    expected: { chat: { anthropic: noLimit(), responses: mapped }, responses: { anthropic: noLimit(), chat: mapped } },
  },
  {
    name: 'no output limit, where the model’s own is known',
    model: { maxOutputTokens: 8000 },
    says: { chat: { max_completion_tokens: undefined }, responses: { max_output_tokens: undefined } },
    expected: {
      chat: { anthropic: adapted('the model’s own limit is sent', { max_tokens: 8000 }), responses: mapped },
      responses: { anthropic: adapted('the model’s own limit is sent', { max_tokens: 8000 }), chat: mapped },
    },
  },
  {
    name: 'a temperature up to 1',
    says: { anthropic: { temperature: 0.7 }, chat: { temperature: 0.7 }, responses: { temperature: 0.7 } },
    expected: mapped,
    throughGate: true,
  },
  {
    name: 'a temperature above 1',
    says: { chat: { temperature: 1.5 }, responses: { temperature: 1.5 } },
    expected: {
      chat: { anthropic: tooHot(), responses: mapped },
      responses: { anthropic: tooHot(), chat: mapped },
    },
    throughGate: true,
  },
  {
    name: 'top_p',
    says: { anthropic: { top_p: 0.9 }, chat: { top_p: 0.9 }, responses: { top_p: 0.9 } },
    expected: mapped,
  },
  { name: 'top_k', says: { anthropic: { top_k: 5 } }, expected: { anthropic: refused('top_k') }, throughGate: true },
  { name: 'a seed', says: { chat: { seed: 7 } }, expected: { chat: refused('seed') } },
  {
    name: 'frequency and presence penalties',
    says: { chat: { frequency_penalty: 0.5, presence_penalty: 0.5 } },
    expected: {
      chat: refusedWith(['frequency_penalty', 'presence_penalty']),
    },
  },
  { name: 'logit_bias', says: { chat: { logit_bias: { '50256': -100 } } }, expected: { chat: refused('logit_bias') } },
  {
    name: 'log probabilities',
    says: { chat: { logprobs: true }, responses: { top_logprobs: 3 } },
    expected: { chat: refused('logprobs'), responses: refused('top_logprobs') },
    throughGate: true,
  },
  { name: 'more than one answer', says: { chat: { n: 2 } }, expected: { chat: refused('n') } },
  {
    name: 'stop sequences',
    says: { anthropic: { stop_sequences: ['END', '###'] }, chat: { stop: ['END', '###'] } },
    expected: {
      anthropic: { chat: mapped, responses: noStop('stop_sequences') },
      chat: { anthropic: mapped, responses: noStop() },
    },
    throughGate: true,
  },
  {
    name: 'a stop sequence of white space',
    says: { chat: { stop: '\n' } },
    expected: {
      chat: {
        anthropic: refused(
          'stop',
          'has a sequence of white space alone, which the model behind this name does not take',
        ),
        responses: noStop(),
      },
    },
  },
];

function noLimit() {
  return adapted('a limit of 32,000 is sent, since this dialect demands one', { max_tokens: 32_000 });
}

function tooHot() {
  return refused('temperature', 'is above 1, the highest that the model behind this name takes');
}

function noStop(param = 'stop') {
  return refused(param, 'has no counterpart in the Responses API');
}
