import type { ProviderType } from '../../../budget/model.ts';
import type { Dialect } from '../../../llm/dialect.ts';
import type { Operation } from '../endpoints.ts';
import type { ProviderKind } from '../provider.ts';

/**
 * All that distinguishes one kind of HTTP provider from another; docs/add-a-provider.md says how to add one.
 */
export interface Adapter {
  readonly kind: ProviderKind;
  /** What it speaks unless the configuration says otherwise; the first is what other dialects are translated to. */
  readonly dialects: readonly [Dialect, ...Dialect[]];
  readonly type: ProviderType;
  /** Null where the configuration must name it. */
  readonly baseUrl: string | null;
  /** Paths below the base URL; absent is not offered. */
  readonly paths: Readonly<Partial<Record<Dialect, Readonly<Partial<Record<Operation, string>>>>>>;
  /** Headers that the provider needs; a client's own take precedence. */
  readonly defaultHeaders: Readonly<Record<string, string>>;
  /** Headers that carry the provider's credential and the id of the attempt. */
  headers(apiKey: string | null, attemptId: string): Record<string, string>;
  /** A refusal in the shape of its dialect and with the status that it means; absent where all refusals come so. */
  refusal?(status: number, body: string): { readonly status: number; readonly body: string };
}
