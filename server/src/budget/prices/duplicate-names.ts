const colon = /\s*:/y;

/**
 * The first name that stands twice in one object of a text that is JSON, with the names that lead to it; null where none
 * does. `JSON.parse` keeps the last of them, and says nothing.
 */
export function duplicateName(json: string): readonly string[] | null {
  const objects: { readonly names: Set<string>; name: string }[] = [];
  for (let at = 0; at < json.length; at++) {
    const char = json[at];
    if (char === '{') objects.push({ names: new Set(), name: '' });
    else if (char === '}') objects.pop();
    if (char !== '"') continue;
    const start = at;
    at = endOfString(json, start);
    colon.lastIndex = at + 1;
    const object = objects.at(-1);
    if (!object || !colon.test(json)) continue;
    object.name = JSON.parse(json.slice(start, at + 1)) as string;
    if (object.names.has(object.name)) return objects.map(({ name }) => name);
    object.names.add(object.name);
  }
  return null;
}

/** Where the string that begins at `start` has its closing quote. */
function endOfString(json: string, start: number): number {
  let at = start + 1;
  while (json[at] !== '"') at += json[at] === '\\' ? 2 : 1;
  return at;
}
