/** Text of others as PostgreSQL can keep it: with a sign in the place of NUL, and of half a surrogate pair. */
export function storable(text: string): string {
  return text.replaceAll('\0', '\uFFFD').toWellFormed();
}
