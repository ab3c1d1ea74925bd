const [quote, backslash, openBrace, closeBrace, openBracket, closeBracket] = Buffer.from('"\\{}[]');

/** How deep objects and arrays are nested in a text that is JSON. */
export function jsonDepth(json: string): number {
  let depth = 0;
  let deepest = 0;
  let inString = false;
  for (let at = 0; at < json.length; at++) {
    const unit = json.charCodeAt(at);
    if (unit === quote) inString = !inString;
    else if (inString) {
      if (unit === backslash) at++;
    } else if (unit === openBrace || unit === openBracket) deepest = Math.max(deepest, ++depth);
    else if (unit === closeBrace || unit === closeBracket) depth--;
  }
  return deepest;
}
