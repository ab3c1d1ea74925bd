import { createHash } from 'node:crypto';
import { canonicalJson, type JsonValue } from '../audit/canonical-json.ts';
import { digestOf } from '../base/digest.ts';
import type { Approval, Requester, What } from './model.ts';

/** Canonical JSON of what is asked for, and its digest: the SHA-256 of that text. */
export function whatOf(
  requester: Pick<Requester, 'id' | 'kind'>,
  { action, runId, args }: { readonly action: string; readonly runId: string | null; readonly args: JsonValue },
): { readonly what: string; readonly digest: Buffer } {
  const what = {
    action,
    arguments: args,
    principal: { id: requester.id, kind: requester.kind },
    run: runId,
  } satisfies What;
  return digested(what);
}

/** The same with other arguments: who, what action and which run cannot be edited. */
export function withArguments(what: string, args: JsonValue): { readonly what: string; readonly digest: Buffer } {
  return digested({ ...readWhat(what), arguments: args });
}

/** What {@link whatOf} wrote. */
export function readWhat(what: string): What {
  return JSON.parse(what) as What;
}

function digested({ action, arguments: args, principal, run }: What): { what: string; digest: Buffer } {
  const text = canonicalJson({ action, arguments: args, principal: { id: principal.id, kind: principal.kind }, run });
  return { what: text, digest: createHash('sha256').update(text).digest() };
}

/** What a repeat grant is for; `digest` null: whatever the arguments. */
export function grantKey(
  of: Pick<Approval, 'projectId' | 'kind' | 'runId' | 'action'> & { readonly requesterId: string },
  digest: Buffer | null,
): Buffer {
  return digestOf([of.projectId, of.kind, of.requesterId, of.runId, of.action, digest]);
}
