import { PortcullisError } from '../base/errors.ts';
import { hasInk } from '../base/ink.ts';
import { emailCharsMax, nameCharsMax } from '../base/limits.ts';

/** A refusal of one field, in a sentence that begins with its name. */
export function invalid(param: string, message: string): PortcullisError {
  return new PortcullisError('invalid_argument', message, { param });
}

/**
 * A line of text without control characters or separators of lines, which shows something if it may not be empty; surrounding
 * blanks are dropped.
 * @throws PortcullisError invalid_argument
 */
export function checkLine(param: string, text: string, charsMin: number, charsMax: number): string {
  const line = text.trim();
  if (line.length < charsMin || line.length > charsMax || /[\p{C}\p{Zl}\p{Zp}]/u.test(line)) {
    throw invalid(param, `${param} must be one line of ${charsMin} to ${charsMax} characters.`);
  }
  if (charsMin > 0 && !hasInk(line)) throw invalid(param, `${param} must have a character that can be seen.`);
  return line;
}

/** A name that people choose. @throws PortcullisError invalid_argument */
export function checkName(text: string): string {
  return checkLine('name', text, 1, nameCharsMax);
}

/**
 * An e-mail address with A to Z in lower case, as one person has one; other letters stay, since some become ASCII. Only mail that arrives proves an address, so its form is
 * looked at no further than to catch a name in the wrong field.
 * @throws PortcullisError invalid_argument
 */
export function checkEmail(text: string): string {
  const email = text.trim().replace(/[A-Z]/g, (letter) => letter.toLowerCase());
  if (email.length > emailCharsMax || !/^[^\s@\p{C}]+@[^\s@\p{C}]+$/u.test(email)) {
    throw invalid('email', `email must be an address like name@example.com of at most ${emailCharsMax} characters.`);
  }
  return email;
}
