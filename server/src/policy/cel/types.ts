/** The types of the language: those of CEL without uint, bytes and messages; maps have texts as keys. */
export type Type =
  | { readonly kind: 'bool' | 'int' | 'double' | 'string' | 'null' | 'timestamp' | 'duration' | 'dyn' }
  | { readonly kind: 'list' | 'map'; readonly element: Type };

export const bool: Type = { kind: 'bool' };
export const int: Type = { kind: 'int' };
export const double: Type = { kind: 'double' };
export const string: Type = { kind: 'string' };
export const nil: Type = { kind: 'null' };
export const timestamp: Type = { kind: 'timestamp' };
export const duration: Type = { kind: 'duration' };
/** Known only when it is evaluated: what a caller sent. */
export const dyn: Type = { kind: 'dyn' };

export function list(element: Type): Type {
  return { kind: 'list', element };
}

export function map(element: Type): Type {
  return { kind: 'map', element };
}

/** Whether a value of one type can be one of the other: they agree, with `dyn` for anything. */
export function agree(left: Type, right: Type): boolean {
  if (left.kind === 'dyn' || right.kind === 'dyn') return true;
  if (left.kind !== right.kind) return false;
  return !('element' in left && 'element' in right) || agree(left.element, right.element);
}

/** The type of what is one or the other. */
export function join(left: Type, right: Type): Type {
  if ('element' in left && 'element' in right && left.kind === right.kind)
    return { kind: left.kind, element: join(left.element, right.element) };
  return left.kind === right.kind ? left : dyn;
}

export function describe(type: Type): string {
  return 'element' in type ? `${type.kind}(${describe(type.element)})` : type.kind;
}
