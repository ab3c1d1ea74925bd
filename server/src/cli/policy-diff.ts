import type { PolicyDocument } from '../gen/portcullis/v1/policy_document_pb.ts';
import { documentParts } from './policy-yaml.ts';

/** A part of a document (`rule NAME`) with its text before and after; absent where it is not there. */
export interface PartChange {
  readonly part: string;
  readonly before?: string;
  readonly after?: string;
}

export type DocumentChanges = readonly PartChange[];

/** What differs between two documents, part by part. */
export function documentChanges(
  before: PolicyDocument | undefined,
  after: PolicyDocument,
  agents: ReadonlyMap<string, string>,
): DocumentChanges {
  const old = before === undefined ? new Map<string, string>() : documentParts(before, agents);
  const now = documentParts(after, agents);
  const names = new Set([...old.keys(), ...now.keys()]);
  return [...names].flatMap((part) => {
    const [was, is] = [old.get(part), now.get(part)];
    if (was === is) return [];
    return [{ part, ...(was !== undefined && { before: was }), ...(is !== undefined && { after: is }) }];
  });
}

/** For people: `+ rule NAME`, `- rule NAME`, and `~ rule NAME` with the lines that differ. */
export function changeLines(changes: DocumentChanges): readonly string[] {
  return changes.flatMap(({ part, before, after }) => {
    if (before === undefined) return [`+ ${part}`, ...linesOf(after).map((line) => `+   ${line}`)];
    if (after === undefined) return [`- ${part}`, ...linesOf(before).map((line) => `-   ${line}`)];
    const [was, is] = [linesOf(before), linesOf(after)];
    return [
      `~ ${part}`,
      ...was.filter((line) => !is.includes(line)).map((line) => `-   ${line}`),
      ...is.filter((line) => !was.includes(line)).map((line) => `+   ${line}`),
    ];
  });
}

function linesOf(text: string | undefined): readonly string[] {
  return text === undefined || text === '' ? [] : text.split('\n');
}
