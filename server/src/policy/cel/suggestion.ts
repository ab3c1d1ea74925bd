/** The name that was probably meant: the nearest of the known ones, if no more than two letters are off. */
export function nearest(name: string, known: readonly string[]): string | null {
  const [best] = known
    .map((each) => ({ each, distance: distanceBetween(name.toLowerCase(), each.toLowerCase()) }))
    .filter(({ each, distance }) => distance <= Math.min(2, each.length - 1))
    .sort((left, right) => left.distance - right.distance);
  return best?.each ?? null;
}

/** Insertions, deletions, substitutions, and neighbours that changed places (Damerau–Levenshtein, optimal string alignment). */
function distanceBetween(left: string, right: string): number {
  if (Math.abs(left.length - right.length) > 2) return Number.POSITIVE_INFINITY;
  let [beforeLast, last]: number[][] = [[], Array.from({ length: right.length + 1 }, (_, column) => column)];
  for (let row = 1; row <= left.length; row += 1) {
    const current = [row];
    for (let column = 1; column <= right.length; column += 1) {
      const same = left[row - 1] === right[column - 1];
      const swapped = left[row - 1] === right[column - 2] && left[row - 2] === right[column - 1];
      current.push(
        Math.min(
          (last?.[column] ?? 0) + 1,
          (current[column - 1] ?? 0) + 1,
          (last?.[column - 1] ?? 0) + (same ? 0 : 1),
          swapped ? (beforeLast?.[column - 2] ?? 0) + 1 : Number.POSITIVE_INFINITY,
        ),
      );
    }
    [beforeLast, last] = [last, current];
  }
  return last?.[right.length] ?? 0;
}
