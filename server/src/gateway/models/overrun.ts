import { PortcullisError } from '../../base/errors.ts';
import { cost, totalTokens } from '../../budget/prices/cost.ts';
import type { Consumption } from './forward.ts';
import type { Reserved } from './reserve.ts';

/**
 * Watches that a stream stays within what was held for it. What is held is more than the provider documents that a call
 * can use, so this is for a provider that is wrong about it.
 */
export class OverrunWatch {
  readonly #reserved: Reserved;
  readonly #consumption: Consumption;
  #outputBytes = 0;
  #toldUsage = false;

  constructor(reserved: Reserved, consumption: Consumption) {
    this.#reserved = reserved;
    this.#consumption = consumption;
  }

  /**
   * To be called after each event. Usage that was told counts once the model goes on after it: the last of an answer
   * comes when there is nothing left to be saved.
   * @throws PortcullisError budget_exceeded
   */
  check(data: string): void {
    const { outputBytes } = this.#consumption;
    const goesOn = outputBytes > this.#outputBytes;
    this.#outputBytes = outputBytes;
    if (goesOn && this.#toldUsage) {
      this.#toldUsage = false;
      if (this.#isOver()) {
        throw new PortcullisError(
          'budget_exceeded',
          'The provider used more than was reserved for this call at most, so the stream was ended.',
          { rule: 'overrun' },
        );
      }
    }
    this.#toldUsage ||= data.includes('"usage"');
  }

  #isOver(): boolean {
    const { hold, price } = this.#reserved;
    const { worst } = hold;
    const { usage } = this.#consumption;
    if (!worst.bounded || usage === null) return false;
    if (totalTokens(usage) > worst.tokens) return true;
    // Fees are held and settled at their most, whatever the tokens are.
    return price !== null && cost(price, usage) + worst.feesUsd > worst.usd;
  }
}
