import { Agent, request } from 'undici';
import type { Door, Scenario } from './scenarios.ts';
import { requestOf } from './scenarios.ts';

export interface Outcome {
  readonly scenario: string;
  readonly door: string;
  /** What was wrong with the answer; null when it was right for the scenario. */
  readonly wrong: string | null;
}

/** Calls as clients of every kind do. */
export class SoakClient {
  readonly #url: string;
  readonly #key: string;
  readonly #agent = new Agent({ headersTimeout: 60_000, bodyTimeout: 60_000 });

  constructor(url: string, key: string) {
    this.#url = url;
    this.#key = key;
  }

  async call(scenario: Scenario, door: Door): Promise<Outcome> {
    const wrong = await this.#run(scenario, door).catch((error: unknown) => String(error));
    return { scenario: scenario.name, door: door.name, wrong };
  }

  async close(): Promise<void> {
    await this.#agent.destroy();
  }

  async #run(scenario: Scenario, door: Door): Promise<string | null> {
    const { path, body } = requestOf(scenario, door);
    const leaving = new AbortController();
    const leaves = scenario.leavesAfterBytes;
    if (leaves === 0) setTimeout(() => leaving.abort(), 50);
    try {
      const answer = await request(`${this.#url}${path}`, {
        method: 'POST',
        dispatcher: this.#agent,
        signal: leaving.signal,
        headers: {
          'content-type': 'application/json',
          authorization: `Bearer ${this.#key}`,
          ...(door.dialect === 'anthropic' && { 'anthropic-version': '2023-06-01' }),
        },
        body,
      });
      let bytes = 0;
      for await (const chunk of answer.body) {
        bytes += (chunk as Buffer).length;
        if (leaves !== undefined && bytes >= leaves) leaving.abort();
      }
      return scenario.statuses.includes(answer.statusCode) ? null : `status ${answer.statusCode}`;
    } catch (error) {
      if (leaving.signal.aborted) return null;
      throw error;
    }
  }
}
