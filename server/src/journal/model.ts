import { journalTextBytesMax, journalTitleBytesMax, tagCharsMax, tagsMax } from '../base/telemetry-limits.ts';
import { checkLine, invalid } from '../identity/input.ts';
import type { PrincipalKind } from '../identity/model.ts';

export const taskStatuses = ['todo', 'in_progress', 'done', 'blocked'] as const;
export type TaskStatus = (typeof taskStatuses)[number];

/** Something to do. Times here and below are epoch milliseconds. */
export interface Task {
  readonly id: string;
  readonly projectId: string;
  readonly title: string;
  readonly details: string;
  readonly status: TaskStatus;
  readonly tags: readonly string[];
  /** Counts its changes. */
  readonly revision: bigint;
  readonly createdBy: string;
  readonly createdAt: number;
  readonly updatedAt: number;
}

/** What of a task people write. */
export type TaskContent = Pick<Task, 'title' | 'details' | 'status' | 'tags'>;

/** Something to know. */
export interface Note {
  readonly id: string;
  readonly projectId: string;
  readonly title: string;
  readonly body: string;
  readonly tags: readonly string[];
  readonly createdBy: string;
  readonly createdAt: number;
}

export const changelogCategories = ['platform', 'policy', 'model', 'infra', 'ops'] as const;
export type ChangelogCategory = (typeof changelogCategories)[number];

/** Something that was changed, in the words of who appended it. */
export interface ChangelogEntry {
  readonly id: string;
  readonly projectId: string;
  readonly category: ChangelogCategory;
  readonly summary: string;
  readonly details: string;
  /** Who appended it, by credential. */
  readonly actorKind: PrincipalKind;
  readonly actorId: string;
  readonly createdAt: number;
}

export const benchmarkProviderTypes = ['api', 'subscription', 'opensource'] as const;

/** What somebody measured of a model outside of the gate. */
export interface Benchmark {
  readonly id: string;
  readonly projectId: string;
  readonly workflow: string;
  readonly providerType: (typeof benchmarkProviderTypes)[number];
  readonly provider: string;
  readonly model: string;
  readonly tokensInput: bigint;
  readonly tokensOutput: bigint;
  /** Nano-USD. */
  readonly costUsd: bigint;
  readonly latencyMs: number;
  /** 0 to 1; null is none. */
  readonly qualityScore: number | null;
  readonly notes: string;
  readonly recordedBy: string;
  readonly recordedAt: number;
}

/** The etag of a task as it stands. */
export function etagOf({ revision }: Pick<Task, 'revision'>): string {
  return revision.toString();
}

/** Text of any lines and characters, kept as it came. @throws PortcullisError invalid_argument for what cannot be kept so, or is too long */
export function checkText(param: string, text: string, bytesMax: number = journalTextBytesMax): string {
  if (Buffer.byteLength(text) > bytesMax)
    throw invalid(param, `${param} must have at most ${bytesMax} bytes in UTF-8.`);
  if (text.includes('\0')) throw invalid(param, `${param} must not contain a zero byte.`);
  if (!text.isWellFormed()) throw invalid(param, `${param} must not contain half of a surrogate pair.`);
  return text;
}

/** What stands for an entry where only one line of it is shown. @throws PortcullisError invalid_argument */
export function checkTitle(param: string, text: string): string {
  if (text.trim() === '') throw invalid(param, `${param} must not be empty.`);
  return checkText(param, text, journalTitleBytesMax);
}

/** Tags trimmed and in lower case, each once, in the order in which they came. @throws PortcullisError invalid_argument */
export function checkTags(tags: readonly string[]): string[] {
  if (tags.length > tagsMax) throw invalid('tags', `tags must be at most ${tagsMax}.`);
  return [...new Set(tags.map((tag) => checkLine('tags', tag, 1, tagCharsMax).toLowerCase()))];
}
