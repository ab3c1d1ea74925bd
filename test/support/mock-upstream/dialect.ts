import type { Answer, Asked, Chunk } from './answer.ts';

/** A request that the provider would refuse. */
export interface Refusal {
  readonly status: number;
  readonly message: string;
}

/** A provider's wire format, written from its public API reference, never from the gateway's own code. */
export interface MockDialect {
  read(body: Record<string, unknown>): Asked | Refusal;
  whole(answer: Answer): string;
  events(answer: Answer, asked: Asked): Chunk[];
  error(status: number, message: string, requestId: string): string;
  headers(requestId: string): Record<string, string>;
  models(names: readonly string[]): string;
}

export function isRefusal(value: Asked | Refusal): value is Refusal {
  return 'status' in value;
}

/** Epoch seconds of everything that the mock says it created, so that answers are the same in every run. */
export const createdAtS = 1_767_225_600;

export function list(value: unknown): Record<string, unknown>[] {
  return Array.isArray(value) ? value.filter((each) => typeof each === 'object' && each !== null) : [];
}
