import type { Conversation, Turn } from '../conversation.ts';
import { defaultToolChoice } from '../conversation.ts';

/** A conversation of one word, with what a test is about. */
export function aConversation(change: Partial<Conversation> = {}): Conversation {
  return {
    model: 'm',
    system: [],
    turns: [userTurn('hi')],
    tools: [],
    toolChoice: defaultToolChoice,
    temperature: null,
    topP: null,
    stop: [],
    maxOutputTokens: 1000,
    reasoning: null,
    outputFormat: null,
    verbosity: null,
    serviceTier: null,
    stream: false,
    streamUsage: true,
    user: null,
    ...change,
  };
}

export function userTurn(text: string): Turn {
  return { role: 'user', blocks: [{ type: 'text', text }] };
}
