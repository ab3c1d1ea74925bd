import { nameCharsMax } from '../../base/limits.ts';
import { checkLine, invalid } from '../../identity/input.ts';

/**
 * A name by which people tell things apart that others named: in Unicode's compatibility form (NFKC), with single blanks,
 * and nothing that is not drawn. Letters of different alphabets that look alike stay apart.
 * @throws PortcullisError invalid_argument
 */
export function checkShownName(param: string, text: string): string {
  const line = checkLine(param, text, 1, nameCharsMax);
  const name = checkLine(param, line.normalize('NFKC').replace(/\s+/g, ' '), 1, nameCharsMax);
  if (/\p{DI}/u.test(name)) throw invalid(param, `${param} must not have characters that are not drawn.`);
  return name;
}
