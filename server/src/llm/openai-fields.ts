import { createHash } from 'node:crypto';
import {
  type Conversation,
  type OutputFormat,
  type ReasoningEffort,
  type Target,
  reasoningEfforts,
} from './conversation.ts';
import type { Losses } from './losses.ts';
import type { ObjectReader } from './object-reader.ts';

/** What OpenAI's two dialects say in the same words, wherever in a request they say it. */

/** OpenAI refuses longer names of users. */
const userCharsMax = 64;

/** OpenAI demands a name for the format of the answer; where the other side has none, this one never changes. */
const formatName = 'output';

const verbosities = ['low', 'medium', 'high'] as const;

/** The string of a member that has an older name too. @throws PortcullisError where both are there and differ */
export function renamedString(holder: ObjectReader, newer: string, older: string): string | null {
  const said = [holder.optionalString(newer), holder.optionalString(older)].filter((value) => value !== null);
  if (new Set(said).size > 1) throw holder.malformed(older, `left out where "${newer}" says otherwise`);
  return said[0] ?? null;
}

export function parseUserName(body: ObjectReader): string | null {
  return renamedString(body, 'safety_identifier', 'user');
}

/** An identifier that is too long goes as its SHA-256 (64 hex digits): as opaque, as stable, as distinct. */
export function writeUserName(user: string): string {
  return user.length <= userCharsMax ? user : createHash('sha256').update(user).digest('hex');
}

/** Other tiers have other prices, or other delays, that the other side does not know. */
export function parseServiceTier(body: ObjectReader, losses: Losses): Conversation['serviceTier'] {
  const tier = body.optionalString('service_tier');
  if (tier === null || tier === 'auto') return tier;
  if (tier === 'default') return 'standard';
  losses.drop('service_tier', `asks for "${tier}", which has no counterpart on the other side`);
  return null;
}

export function writeServiceTier({ serviceTier }: Conversation): { service_tier?: string } {
  if (serviceTier === null) return {};
  return { service_tier: serviceTier === 'standard' ? 'default' : 'auto' };
}

export function parseVerbosity(holder: ObjectReader): Conversation['verbosity'] {
  return parseWord(holder, 'verbosity', verbosities);
}

/** The effort of reasoning, by whichever name it goes. */
export function parseEffort(holder: ObjectReader, name: string): ReasoningEffort | null {
  return parseWord(holder, name, reasoningEfforts);
}

function parseWord<W extends string>(holder: ObjectReader, name: string, words: readonly W[]): W | null {
  const said = holder.optionalString(name);
  const word = words.find((each) => each === said) ?? null;
  if (said !== null && word === null) throw holder.malformed(name, `one of ${words.join(', ')}`);
  return word;
}

/** The members that describe a schema to answer by. */
export function writeSchema({ name, description, schema, strict }: OutputFormat): object {
  return {
    name: name ?? formatName,
    ...(description !== null && { description }),
    schema,
    ...(strict !== null && { strict }),
  };
}

/** The most output tokens to ask for: as many as the caller wants, but no more than the target gives. */
export function outputLimit({ maxOutputTokens: asked }: Conversation, { capabilities }: Target): number | null {
  return asked === null ? null : Math.min(asked, capabilities.maxOutputTokens ?? Infinity);
}
