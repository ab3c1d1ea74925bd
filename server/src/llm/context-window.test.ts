import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { PortcullisError } from '../base/errors.ts';
import { type InWindow, type WindowRules, fitWindow } from './context-window.ts';
import type { Conversation } from './conversation.ts';
import { dialects } from './dialect.ts';
import { conversation as anyConversation } from './testing/arbitrary.ts';
import { aConversation, userTurn } from './testing/conversations.ts';
import { estimateTokens, totalTokens } from './tokens.ts';

const { signal } = new AbortController();

function rules(contextTokens: number | null, change: Partial<WindowRules> = {}): WindowRules {
  return {
    dialect: 'anthropic',
    capabilities: { contextTokens, maxOutputTokens: null },
    trim: 'refuse',
    promptTokensMax: null,
    signal,
    ...change,
  };
}

const words = (n: number) => 'word '.repeat(n).trim();
const said = (n: number, change: Partial<Conversation> = {}) =>
  aConversation({ turns: [userTurn(words(n))], ...change });
const refusal = (asked: Conversation, to: WindowRules) =>
  fitWindow(asked, to).then(
    () => null,
    (thrown: unknown) => PortcullisError.from(thrown),
  );

test('a prompt that leaves no room for an answer is refused in the words that clients of its dialect know', async () => {
  const told = async (dialect: WindowRules['dialect']) => {
    const error = await refusal(said(900), rules(1000, { dialect }));
    expect(error).toMatchObject({ code: 'context_length_exceeded', status: 400, final: true });
    expect(error?.members).toMatchObject({ unit: 'tokens', observed: '904', limit: '750' });
    return error?.message;
  };
  // All of the line is matched by Claude Code.
  expect(await told('anthropic')).toMatch(/^prompt is too long: 904 tokens > 750 maximum$/);
  expect(await told('chat')).toContain('maximum context length is 1000 tokens. However, you requested 1154 tokens');
  expect(await told('responses')).toContain('exceeds the context window of this model');
});

describe('of the output that the caller allows', () => {
  test('a prompt must leave room for some, and the rest is cut to what the window has left', async () => {
    const fitted = await fitWindow(said(700), rules(1000));
    expect(fitted).toMatchObject({ maxOutputTokens: 296, trimmed: null });
    expect(await refusal(said(700, { maxOutputTokens: 200 }), rules(1000))).toBeNull();
    expect(await refusal(said(900, { maxOutputTokens: 10 }), rules(1000))).toBeNull();
    expect((await refusal(said(30_000), rules(32_768)))?.code).toBeUndefined();
    expect((await refusal(said(30_000, { maxOutputTokens: 32_000 }), rules(32_768)))?.code).toBe(
      'context_length_exceeded',
    );
  });

  test('who sets no limit has no room kept for, but for a first word', async () => {
    const asked = said(995, { maxOutputTokens: null });
    expect(await fitWindow(asked, rules(1000))).toEqual({ conversation: asked, maxOutputTokens: null, trimmed: null });
    expect((await refusal(asked, rules(999)))?.members.observed).toBe('999');
  });

  test('the most that the model gives counts, where the caller allows more', async () => {
    const capabilities = { contextTokens: 1000, maxOutputTokens: 50 };
    expect(await refusal(said(900, { maxOutputTokens: 9000 }), rules(1000, { capabilities }))).toBeNull();
  });
});

test('what surely fits, and what goes to a window that nobody knows, is not counted', async () => {
  const gone = AbortSignal.abort(new Error('counted'));
  const asked = said(10, { maxOutputTokens: 100 });
  expect((await fitWindow(asked, rules(null, { signal: gone }))).conversation).toBe(asked);
  expect((await fitWindow(asked, rules(160, { promptTokensMax: 60, signal: gone }))).conversation).toBe(asked);
  await expect(fitWindow(asked, rules(159, { promptTokensMax: 60, signal: gone }))).rejects.toThrow('counted');
});

test('a system prompt that is too long by itself is refused with the numbers, also where turns may be taken out', async () => {
  const asked = said(10, { system: [{ type: 'text', text: words(2000) }], maxOutputTokens: 100 });
  const error = await refusal(asked, rules(1000, { trim: 'oldest_turns' }));
  expect(error?.message).toBe('prompt is too long: 2014 tokens > 900 maximum');
});

const good = 'fits, or is refused';

test('any conversation in any window fits afterwards together with an answer, or is refused', async () => {
  await fc.assert(
    fc.asyncProperty(
      anyConversation,
      fc.integer({ min: 1, max: 10_000 }),
      fc.constantFrom('refuse' as const, 'oldest_turns' as const),
      fc.constantFrom(...dialects),
      fc.option(fc.integer({ min: 1, max: 20_000 })),
      async (asked, window, trim, dialect, maxOutputTokens) => {
        const conversation = { ...asked, maxOutputTokens };
        const told = rules(window, { trim, dialect });
        const outcome = await fitWindow(conversation, told).catch((thrown: unknown) => PortcullisError.from(thrown));
        expect(await verdict(outcome, conversation, window)).toBe(good);
      },
    ),
    { numRuns: 300 },
  );
});

async function verdict(outcome: InWindow | PortcullisError, asked: Conversation, window: number): Promise<string> {
  if (outcome instanceof PortcullisError) return outcome.code === 'context_length_exceeded' ? good : outcome.code;
  const { conversation, maxOutputTokens, trimmed } = outcome;
  const left = window - totalTokens(await estimateTokens(conversation, signal));
  const limit = maxOutputTokens ?? 1;
  if (limit < 1 || limit > left) return `leaves ${left} and allows ${limit}`;
  return (conversation !== asked) === (trimmed !== null && trimmed.turns > 0) ? good : 'is not told what was taken out';
}
