/** What is wrong with a condition, in the order in which it is looked for. */
export type ProblemCode =
  | 'syntax'
  | 'too_long'
  | 'too_deep'
  | 'unknown_name'
  | 'unknown_function'
  | 'wrong_type'
  | 'not_supported'
  | 'not_constant'
  | 'bad_pattern'
  | 'bad_constant'
  | 'nested'
  | 'too_costly';

/** Why a condition cannot be saved: a sentence for the person who wrote it, and where. Lines, and columns in UTF-16 units, count from 1. */
export interface Problem {
  readonly code: ProblemCode;
  readonly message: string;
  readonly line: number;
  readonly column: number;
}

/** Thrown within this folder alone, where the expression's text is not at hand; `offset` counts UTF-16 units. */
export class ProblemAt extends Error {
  readonly code: ProblemCode;
  readonly offset: number;

  constructor(code: ProblemCode, offset: number, message: string) {
    super(message);
    this.code = code;
    this.offset = offset;
  }
}
