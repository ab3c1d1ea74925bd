import type { ProviderType } from '../../../budget/model.ts';
import type { Dialect } from '../../../llm/dialect.ts';
import type { Operation } from '../endpoints.ts';
import type { ProviderKind } from '../provider.ts';

/**
 * All that distinguishes one kind of HTTP provider from another. To add a provider: a folder with one adapter, listed
 * in `registry.ts`, and its kind in `provider.ts` and the configuration's schema.
 */
export interface Adapter {
  readonly kind: ProviderKind;
  /** What it speaks; the first is what other dialects are translated to. */
  readonly dialects: readonly [Dialect, ...Dialect[]];
  readonly type: ProviderType;
  /** Null where the configuration must name it. */
  readonly baseUrl: string | null;
  /** Path below the base URL, per operation; absent is not offered. */
  readonly paths: Readonly<Partial<Record<Operation, string>>>;
  /** Headers that the provider needs; a client's own take precedence. */
  readonly defaultHeaders: Readonly<Record<string, string>>;
  /** Headers that carry the provider's credential and the id of the attempt. */
  headers(apiKey: string | null, attemptId: string): Record<string, string>;
}
