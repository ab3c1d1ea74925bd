/** A model API's wire format. */
export const dialects = ['anthropic', 'chat', 'responses'] as const;
export type Dialect = (typeof dialects)[number];
