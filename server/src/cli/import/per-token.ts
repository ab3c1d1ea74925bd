/**
 * USD per token, as LiteLLM writes it (`3e-06`), in USD per million tokens, as this configuration does: exactly, by
 * moving the point of the decimal text. @returns null for what is no amount
 */
export function perMillion(perToken: unknown): string | null {
  if (typeof perToken !== 'number' && typeof perToken !== 'string') return null;
  const match = /^(\d+)(?:\.(\d*))?(?:e([+-]?\d{1,2}))?$/i.exec(String(perToken).trim());
  if (match === null) return null;
  const [, whole = '', fraction = '', exponent = '0'] = match;
  const decimals = fraction.length - Number(exponent) - 6;
  const digits = whole + fraction;
  if (decimals <= 0) return trimmed(digits + '0'.repeat(-decimals), '');
  const padded = digits.padStart(decimals + 1, '0');
  return trimmed(padded.slice(0, -decimals), padded.slice(-decimals));
}

function trimmed(whole: string, fraction: string): string {
  const left = whole.replace(/^0+(?=\d)/, '');
  const right = fraction.replace(/0+$/, '');
  return right === '' ? left : `${left}.${right}`;
}
