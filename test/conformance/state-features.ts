import { adapted, alwaysRefused, hint, mapped, refused } from './outcome.ts';
import { stored } from './prompt-features.ts';
import type { RequestFeature } from './request-matrix.ts';

/** Who asks, at what tier, with what kept at the provider, and what only one dialect knows. */

/** The SHA-256 of 65 times "u". */
const longName = 'f20e249d15fa4b9f44ba21d154f62e1efa76ddfdce5d25139a33a4787cee5a8b';

export const accountFeatures: readonly RequestFeature[] = [
  {
    name: 'the end user',
    says: {
      anthropic: { metadata: { user_id: 'u1' } },
      chat: { safety_identifier: 'u1' },
      responses: { safety_identifier: 'u1' },
    },
    sent: { chat: { user: 'u1' } },
    expected: mapped,
    throughGate: true,
  },
  {
    name: 'the end user by a long name',
    says: { anthropic: { metadata: { user_id: 'u'.repeat(65) } } },
    expected: {
      anthropic: {
        chat: adapted('as its SHA-256, which is short enough', { user: longName }),
        responses: adapted('as its SHA-256, which is short enough', { safety_identifier: longName }),
      },
    },
  },
  {
    name: 'metadata',
    says: { chat: { metadata: { project: 'x' } }, responses: { metadata: { project: 'x' } } },
    expected: { chat: hint('metadata'), responses: hint('metadata') },
  },
  {
    name: 'the provider’s choice of a service tier',
    says: { anthropic: { service_tier: 'auto' }, chat: { service_tier: 'auto' }, responses: { service_tier: 'auto' } },
    expected: mapped,
  },
  {
    name: 'the standard service tier',
    says: {
      anthropic: { service_tier: 'standard_only' },
      chat: { service_tier: 'default' },
      responses: { service_tier: 'default' },
    },
    expected: mapped,
  },
  {
    name: 'a dearer or slower service tier',
    says: { anthropic: { speed: 'fast' }, chat: { service_tier: 'priority' }, responses: { service_tier: 'flex' } },
    expected: {
      anthropic: refused('speed'),
      chat: refused('service_tier', 'asks for "priority", which has no counterpart on the other side'),
      responses: refused('service_tier', 'asks for "flex", which has no counterpart on the other side'),
    },
  },
];

/** A prompt with the end of a prefix marked. */
const marked = {
  anthropic: {
    messages: [
      { role: 'user', content: [{ type: 'text', text: 'Hi', cache_control: { type: 'ephemeral', ttl: '1h' } }] },
    ],
  },
  chat: {
    messages: [
      {
        role: 'user',
        content: [{ type: 'text', text: 'Hi', prompt_cache_breakpoint: { mode: 'explicit', ttl: '12h' } }],
      },
    ],
  },
  responses: {
    input: [
      {
        type: 'message',
        role: 'user',
        content: [{ type: 'input_text', text: 'Hi', prompt_cache_breakpoint: { mode: 'explicit', ttl: '12h' } }],
      },
    ],
  },
};

export const stateFeatures: readonly RequestFeature[] = [
  { name: 'a cache mark', says: marked, expected: mapped, throughGate: true },
  {
    name: 'a cache mark, to a model that has no cache',
    model: { promptCaching: 'none' },
    says: marked,
    expected: hint('cache_control'),
  },
  {
    name: 'a key for the cache',
    says: { chat: { prompt_cache_key: 'k' }, responses: { prompt_cache_key: 'k' } },
    expected: { chat: hint('prompt_cache_key'), responses: hint('prompt_cache_key') },
  },
  {
    name: 'a predicted answer',
    says: { chat: { prediction: { type: 'content', content: 'Hello' } } },
    expected: { chat: hint('prediction') },
  },
  {
    name: 'what to do when the context overflows',
    says: { responses: { truncation: 'auto' } },
    expected: { responses: hint('truncation') },
  },
  {
    name: 'clearing of old tool results by the vendor',
    says: { anthropic: { context_management: { edits: [{ type: 'clear_tool_uses_20250919' }] } } },
    expected: {
      anthropic: refused(
        'context_management.edits[0]',
        `is of type "clear_tool_uses_20250919", which only this dialect's own vendor does`,
      ),
    },
  },
  {
    name: 'storing of the answer by the provider',
    says: { chat: { store: true }, responses: { store: true } },
    expected: {
      chat: refused('store'),
      responses: stored('store', 'set it to false, and send the whole conversation each time'),
    },
  },
  {
    name: 'a stored answer to go on from',
    says: { responses: { previous_response_id: 'resp_1' } },
    expected: { responses: stored('previous_response_id', 'send what it stands for with the request') },
    throughGate: true,
  },
  {
    name: 'a stored conversation',
    says: { responses: { conversation: 'conv_1' } },
    expected: { responses: stored('conversation', 'send what it stands for with the request') },
  },
  {
    name: 'a stored prompt',
    says: { responses: { prompt: { id: 'pmpt_1' } } },
    expected: { responses: stored('prompt', 'send what it stands for with the request') },
  },
  {
    name: 'an answer in the background',
    says: { responses: { background: true } },
    expected: { responses: stored('background', 'leave it out, and read the answer as it comes') },
  },
  {
    name: 'a container of the vendor',
    says: { anthropic: { container: 'container_1' } },
    expected: { anthropic: stored('container', 'leave it out, so that the provider makes a new one') },
  },
  {
    name: 'functions, which tools replaced',
    says: { chat: { functions: [{ name: 'f' }] } },
    expected: { chat: alwaysRefused('"functions" must be left out: send "tools", which replaced it.') },
  },
  {
    name: 'a field that nobody knows',
    says: { anthropic: { tomorrow: 1 }, chat: { tomorrow: 1 }, responses: { tomorrow: 1 } },
    expected: refused('tomorrow'),
  },
];
