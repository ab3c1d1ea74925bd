import type { Expr, SourceInfo } from '@bufbuild/cel-spec/cel/expr/syntax_pb.js';
import { type LoopName, loopNames } from './loops.ts';

/** The macro that a loop was written as; undefined where there is none of that name here. */
export function macroName(source: SourceInfo, id: bigint): LoopName | undefined {
  const call = source.macroCalls[String(id)]?.exprKind;
  const written = call?.case === 'callExpr' ? call.value.function : '';
  return loopNames.find((name) => name === (written === 'existsOne' ? 'exists_one' : written));
}

/** The parts of a macro that the parser has put into the step of its loop (cel-spec, "Macros"). */
export function bodyOf(
  name: LoopName,
  step: Expr | undefined,
): { readonly test: Expr | null; readonly made: Expr | null } {
  const args = argumentsOf(step);
  if (name === 'all' || name === 'exists') return { test: args[1] ?? null, made: null };
  if (name === 'exists_one' || name === 'filter') return { test: args[0] ?? null, made: null };
  const conditional = args.length === 3;
  const [, appended] = conditional ? argumentsOf(args[1]) : args;
  const made = appended?.exprKind.case === 'listExpr' ? (appended.exprKind.value.elements[0] ?? null) : null;
  return { test: conditional ? (args[0] ?? null) : null, made };
}

function argumentsOf(expression: Expr | undefined): readonly Expr[] {
  return expression?.exprKind.case === 'callExpr' ? expression.exprKind.value.args : [];
}
