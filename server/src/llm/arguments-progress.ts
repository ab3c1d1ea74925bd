import { jsonDepthMax } from '../base/limits.ts';
import { parseArguments } from './tool-arguments.ts';

/**
 * Follows the arguments of a tool call as they come in pieces. Each character is looked at once, and the whole is parsed
 * once at most: where the first object ends. More after it makes arguments that are none, for good.
 */
export class ArgumentsProgress {
  /** Emptied when the call is over. */
  #json = '';
  #level = 0;
  #inString = false;
  #escaped = false;
  #state: 'before' | 'inside' | 'whole' | 'never' = 'before';

  /** What has come is one JSON object (`parseArguments`). */
  get whole(): boolean {
    return this.#state === 'whole';
  }

  get chars(): number {
    return this.#json.length;
  }

  add(piece: string): void {
    this.#json += piece;
    for (let i = 0; i < piece.length && this.#state !== 'never'; i++) this.#take(piece.charAt(i));
    if (this.#state === 'inside' && this.#level === 0) {
      this.#state = parseArguments(this.#json) === null ? 'never' : 'whole';
    }
  }

  clear(): void {
    this.#json = '';
  }

  #take(char: string): void {
    if (this.#inString) {
      if (this.#escaped) this.#escaped = false;
      else if (char === '\\') this.#escaped = true;
      else if (char === '"') this.#inString = false;
      return;
    }
    if (this.#level === 0) {
      if (' \t\n\r'.includes(char)) return;
      // Only an object may begin, and only one.
      if (char !== '{' || this.#state !== 'before') {
        this.#state = 'never';
        return;
      }
      this.#state = 'inside';
    }
    if (char === '"') this.#inString = true;
    else if (char === '{' || char === '[') this.#level++;
    else if (char === '}' || char === ']') this.#level--;
    if (this.#level > jsonDepthMax) this.#state = 'never';
  }
}
