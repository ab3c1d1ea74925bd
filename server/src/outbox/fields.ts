/** What a member of an event's data is: its type, its JSON Schema and an example in one. */
export interface Field<T> {
  readonly schema: JsonSchema;
  readonly example: T;
}

/** The part of JSON Schema (2020-12) that the catalogue uses. */
export interface JsonSchema {
  readonly type?: string | readonly string[];
  readonly const?: string | number;
  readonly enum?: readonly (string | null)[];
  readonly format?: string;
  readonly pattern?: string;
  readonly minimum?: number;
  readonly description?: string;
  readonly items?: JsonSchema;
  readonly properties?: Readonly<Record<string, JsonSchema>>;
  readonly required?: readonly string[];
  readonly additionalProperties?: boolean;
}

export type Fields = Readonly<Record<string, Field<unknown>>>;
export type DataOf<F extends Fields> = { readonly [Name in keyof F]: F[Name] extends Field<infer T> ? T : never };

export function text(description: string, example: string): Field<string> {
  return { schema: { type: 'string', description }, example };
}

export function texts(description: string, example: readonly string[]): Field<readonly string[]> {
  return { schema: { type: 'array', items: { type: 'string' }, description }, example };
}

/** One of a few words. */
export function word<const W extends string>(description: string, words: readonly [W, ...W[]]): Field<W> {
  return { schema: { type: 'string', enum: words, description }, example: words[0] };
}

export function whole(description: string, example: number): Field<number> {
  return { schema: { type: 'integer', minimum: 0, description }, example };
}

/** An amount as decimal digits: it may exceed what a JSON number holds exactly. */
export function amount(description: string, example: string): Field<string> {
  return { schema: { type: 'string', pattern: '^-?[0-9]+(\\.[0-9]+)?$', description }, example };
}

/** RFC 3339, UTC. */
export function time(description: string, example: string): Field<string> {
  return { schema: { type: 'string', format: 'date-time', description }, example };
}

/** The same, or null: a member is never left out. */
export function orNull<T>({ schema, example }: Field<T>, isNull = false): Field<T | null> {
  const nullable = { ...schema, type: typeof schema.type === 'string' ? [schema.type, 'null'] : ['null'] };
  return {
    schema: schema.enum === undefined ? nullable : { ...nullable, enum: [...schema.enum, null] },
    example: isNull ? null : example,
  };
}
