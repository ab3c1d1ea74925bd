import { z } from 'zod';
import { fileSchema } from '../../config/file-schema.ts';

/** As much of JSON Schema as the file's own has: draft 7, which every editor knows. */
export interface JsonSchema {
  readonly $ref?: string;
  readonly title?: string;
  readonly description?: string;
  readonly type?: string;
  readonly format?: string;
  readonly const?: string;
  readonly enum?: readonly string[];
  readonly default?: unknown;
  readonly deprecated?: boolean;
  readonly minimum?: number;
  readonly maximum?: number;
  readonly items?: JsonSchema;
  readonly properties?: Readonly<Record<string, JsonSchema>>;
  readonly required?: readonly string[];
  readonly additionalProperties?: JsonSchema | false;
  readonly allOf?: readonly JsonSchema[];
  readonly anyOf?: readonly JsonSchema[];
  readonly definitions?: Readonly<Record<string, JsonSchema>>;
}

type Override = NonNullable<NonNullable<Parameters<typeof z.toJSONSchema>[1]>['override']>;

/** What may be written in the configuration file once its references are replaced. */
export function fileJsonSchema(override?: Override): JsonSchema {
  return z.toJSONSchema(fileSchema, { target: 'draft-7', io: 'input', ...(override && { override }) }) as JsonSchema;
}

/**
 * The same for editors, which see the text with its references: free text may be `${NAME}`, also where it is a URL.
 * What stands in two places (a provider that exists, a key that its kind needs) only `portcullis config check` knows.
 */
export function editorSchema(): JsonSchema {
  return fileJsonSchema(({ jsonSchema, path }) => {
    // Names of providers and models are keys, in which nothing is replaced.
    if (path.at(-1) === 'propertyNames') return;
    if (jsonSchema.format === 'uri') {
      delete jsonSchema.format;
      jsonSchema.pattern = withReference('^[A-Za-z][A-Za-z0-9+.-]*:');
    } else if (jsonSchema.pattern !== undefined) jsonSchema.pattern = withReference(jsonSchema.pattern);
  });
}

// An override is called more than once for one schema.
function withReference(pattern: string): string {
  const reference = String.raw`|\$\{[^}]+\}`;
  return pattern.endsWith(reference) ? pattern : pattern + reference;
}
