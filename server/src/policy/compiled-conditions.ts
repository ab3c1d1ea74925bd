import { conditionsKeptMax } from '../base/limits.ts';
import { type Compilation, compileCondition, type Condition } from './cel/condition.ts';

/**
 * The conditions that were compiled last, the newest at the end: a change of one rule, and what is loaded after it, compiles that one
 * alone. Conditions know nothing of a project.
 */
const kept = new Map<string, Condition>();
let keptSize = 0;

/** Like {@link compileCondition}, of a text that may have been compiled before. */
export function compileOnce(text: string): Compilation {
  const known = kept.get(text);
  if (known !== undefined) {
    kept.delete(text);
    kept.set(text, known);
    return { condition: known };
  }
  const compilation = compileCondition(text);
  if ('condition' in compilation) keep(compilation.condition);
  return compilation;
}

function keep(condition: Condition): void {
  kept.set(condition.text, condition);
  keptSize += sizeOf(condition);
  for (const oldest of kept.values()) {
    if (keptSize <= conditionsKeptMax) return;
    kept.delete(oldest.text);
    keptSize -= sizeOf(oldest);
  }
}

function sizeOf({ text, patternSteps }: Condition): number {
  return text.length + patternSteps;
}
