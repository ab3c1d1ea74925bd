import type { JsonValue } from '../audit/canonical-json.ts';
import type { Queryable, Tx } from '../pg/tx.ts';
import type { Approval, ApprovalKind } from './model.ts';

/** Who decided, for what follows from it. */
export interface DecisionContext {
  /** The person whose vote decided; null: nobody did in time. */
  readonly personId: string | null;
  readonly personName: string;
  readonly requestId: string;
}

/**
 * What follows from an outcome, in the transaction of the decision, which is a control write: when it throws, nothing was
 * decided. It is called for approved, edited, rejected and expired alike, not where the request was cancelled. `version` is to be stamped on what it changes.
 */
export type Continuation = (tx: Tx, version: bigint, approval: Approval, context: DecisionContext) => Promise<void>;

/** By kind; a kind without one is waited for by whoever asked. */
export type Continuations = Readonly<Partial<Record<ApprovalKind, Continuation>>>;

/**
 * Checks the arguments that a person wants instead, and judges them anew as if the requester had sent them.
 * @returns the arguments to keep
 * @throws PortcullisError invalid_argument, policy_denied
 */
export type Editor = (db: Queryable, approval: Approval, edited: JsonValue) => Promise<JsonValue>;

/** By kind; a kind without one cannot be edited. */
export type Editors = Readonly<Partial<Record<ApprovalKind, Editor>>>;
