import { createHash } from 'node:crypto';
import { nameCharsMax, reasonCharsMax } from '../../base/limits.ts';
import { checkLine, invalid } from '../../identity/input.ts';
import { checkShownName } from './shown-name.ts';

/** A version of a workflow's prompt. The prompt itself is not stored. */
export interface PromptVersion {
  readonly id: string;
  readonly projectId: string;
  readonly workflow: string;
  /** SHA-256 of its content, in lower-case hex. */
  readonly digest: string;
  readonly label: string;
  readonly notes: string;
  readonly registeredBy: string;
  /** Epoch milliseconds. */
  readonly registeredAt: number;
  /** Whether strangers may see its label: somebody who may publish a workflow gave or confirmed it. */
  readonly isLabelConfirmed: boolean;
}

export function digestOfPrompt(content: string): string {
  return createHash('sha256').update(content).digest('hex');
}

/** What a version is called whose label was given to another one; no caller can choose it. @param digest in lower case */
export function labelOfDisplaced(digest: string): string {
  return `version ${digest}`;
}

/** What names a version besides its label. */
export function isDigest(text: string): boolean {
  return /^[0-9a-f]{64}$/i.test(text);
}

/** What a caller registers, checked. @throws PortcullisError invalid_argument */
export function checkPromptVersion(asked: {
  readonly workflow: string;
  readonly label: string;
  readonly notes: string;
  readonly digest: string;
}): Pick<PromptVersion, 'workflow' | 'label' | 'notes' | 'digest'> {
  const workflow = checkLine('workflow', asked.workflow, 1, nameCharsMax);
  const label = checkShownName('label', asked.label);
  if (isDigest(label.replace(/^version /i, '')))
    throw invalid('label', 'label must not look like a SHA-256: it names the version for people.');
  const notes = checkLine('notes', asked.notes, 0, reasonCharsMax);
  const digest = asked.digest.toLowerCase();
  if (!isDigest(digest)) throw invalid('digest', 'digest must be a SHA-256 in hex: 64 digits.');
  return { workflow, label, notes, digest };
}
