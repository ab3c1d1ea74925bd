import type { Dialect } from '../../server/src/llm/dialect.ts';
import { translateError } from '../../server/src/llm/translate.ts';
import type { Direction } from './outcome.ts';
import { mocks } from './said.ts';

/** An error in the shape of a caller's dialect: its SDK makes an exception of the status, and programs read the rest. */
export interface Told {
  readonly status: number;
  readonly type: string;
  /** What OpenAI's dialects have besides; Anthropic's have none. */
  readonly code: string | null;
  readonly message: string;
}

/** A class of errors with which a provider refuses a request, before any stream began. */
export interface ErrorFeature {
  readonly name: string;
  readonly status: Readonly<Record<Dialect, number>>;
  readonly message: string;
  /** The body, where it is not the one that the mock provider has for the status. */
  readonly body?: Partial<Readonly<Record<Dialect, object>>>;
  /** The status that callers get, where it is not the provider's; a dialect's own statuses stay in it. */
  readonly statusTold?: Partial<Readonly<Record<Dialect, number>>>;
  readonly type: Readonly<Record<Dialect, string>>;
  readonly code: string | null;
  readonly messageTold?: (direction: Direction) => string;
  /** Proven through a running gate besides. */
  readonly throughGate?: true;
}

export function errorBody({ body, status, message }: ErrorFeature, to: Dialect): string {
  const own = body?.[to];
  return own === undefined ? mocks[to].error(status[to], message, 'req_mock_1') : JSON.stringify(own);
}

export function expectedError(feature: ErrorFeature, direction: Direction): Told {
  const { from, to } = direction;
  const { status, statusTold, type, code, message, messageTold } = feature;
  return {
    status: statusTold?.[from] ?? status[to],
    type: type[from],
    code: from === 'anthropic' ? null : code,
    message: messageTold?.(direction) ?? message,
  };
}

export function foundError(feature: ErrorFeature, { from, to }: Direction): Told {
  const told = translateError({ from: to, to: from, status: feature.status[to], body: errorBody(feature, to) });
  return errorView(told.status, told.body);
}

/** Reads an error as the vendors' references show it. */
export function errorView(status: number, body: string): Told {
  const { error } = JSON.parse(body) as { error: { type: string; code?: string | null; message: string } };
  return { status, type: error.type, code: error.code ?? null, message: error.message };
}
