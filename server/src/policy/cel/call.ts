import type { Node } from './node.ts';
import type { PatternSteps } from './pattern.ts';
import type { ProblemCode } from './problem.ts';

/** Refuses the expression under examination. */
export type Refuse = (code: ProblemCode, message: string) => never;

/** A call as it is written: a method has its receiver as its first argument. */
export interface Call {
  readonly name: string;
  readonly isMethod: boolean;
  readonly args: readonly Node[];
  readonly patternSteps: PatternSteps;
}
