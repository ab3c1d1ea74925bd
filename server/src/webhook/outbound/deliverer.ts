import type { Pool } from 'pg';
import type { Logger } from '../../base/log.ts';
import type { SealingKey } from '../../base/sealed-secret.ts';
import {
  deliveriesMovedMax,
  deliveriesQuickMax,
  deliveriesSlowMax,
  deliveriesStopMs,
  endpointQuickMs,
  fanOutRetryMs,
  openedSecretsMax,
  webhookPollMs,
} from '../../base/webhook-limits.ts';
import { attempt, type AttemptOptions } from './attempt.ts';
import { claim } from './claim.ts';
import { markSlow, whatIsDue } from './claim-store.ts';
import { fanOut } from './fan-out.ts';
import type { Claimed } from './model.ts';
import { type CountedOutcome, recordOutcomes } from './outcomes.ts';
import { OutcomeWriter } from './outcome-writer.ts';
import { openSigningSecret, type SealedSecret, type SigningSecret } from './signing.ts';

export interface DelivererOptions extends AttemptOptions {
  readonly pool: Pool;
  readonly key: SealingKey;
  readonly log: Logger;
  /** How long a claim holds without an outcome; longer than `timeoutMs` by what a slow process may lose. */
  readonly claimMs: number;
  /** From 0 to below 1. */
  readonly random: () => number;
  /** Called once an outcome is committed. */
  readonly onOutcome: (outcome: CountedOutcome, durationMs: number) => void;
}

/** The places of a process for deliveries under way: slow endpoints never take those of the others. */
interface Lane {
  readonly slow: boolean;
  free: number;
}

/**
 * Delivers events: fans out, claims what is due, sends it and writes what came of it. Any number of processes do so at once;
 * one that dies loses nothing, since its claims end. It looks when it is woken, and each second.
 */
export class Deliverer {
  readonly #options: DelivererOptions;
  readonly #quick: Lane = { slow: false, free: deliveriesQuickMax };
  readonly #slow: Lane = { slow: true, free: deliveriesSlowMax };
  readonly #underWay = new Set<Promise<void>>();
  readonly #opened = new Map<string, SigningSecret | null>();
  readonly #writer: OutcomeWriter;
  readonly #cancel = new AbortController();
  #stopping = false;
  #woken = false;
  #wake: (() => void) | undefined;
  #loop: Promise<void> | undefined;

  constructor(options: DelivererOptions) {
    this.#options = options;
    this.#writer = new OutcomeWriter(
      async (outcomes) => {
        const { pool, random, log, onOutcome } = options;
        for (const { outcome, counts } of await recordOutcomes(pool, outcomes, random, log))
          onOutcome(counts, outcome.attempt?.durationMs ?? 0);
      },
      () => this.#underWay.size,
      (err) => options.log.error({ err }, 'outcomes of webhook deliveries could not be written'),
    );
  }

  start(): void {
    this.#loop = this.#run();
  }

  /** Looks now, or as soon as the look under way is over. */
  wake(): void {
    this.#woken = true;
    this.#wake?.();
  }

  /** Claims nothing more, lets what is under way end for a while, then breaks it off and gives its claims back. */
  async stop(): Promise<void> {
    this.#stopping = true;
    this.wake();
    await this.#loop;
    const timer = setTimeout(() => this.#cancel.abort(), deliveriesStopMs);
    this.#writer.end();
    await Promise.all(this.#underWay);
    clearTimeout(timer);
  }

  async #run(): Promise<void> {
    while (!this.#stopping) {
      this.#woken = false;
      let pauseMs = webhookPollMs;
      try {
        pauseMs = await this.#look();
      } catch (err) {
        this.#options.log.error({ err }, 'webhooks cannot be delivered');
        // Whoever wakes us meanwhile does not help a database that is away.
        this.#woken = false;
      }
      if (pauseMs > 0 && !this.#woken && !this.#stopping) await this.#pause(pauseMs);
    }
  }

  /** @returns after how many milliseconds to look again */
  async #look(): Promise<number> {
    const { pool, claimMs } = this.#options;
    let due = await whatIsDue(pool);
    let fannedOut = null;
    if (due.events) {
      fannedOut = await fanOut(pool);
      due = await whatIsDue(pool);
    }
    let claimed = 0;
    for (const lane of [this.#quick, this.#slow]) {
      if (this.#stopping || lane.free <= 0 || !(lane.slow ? due.slow : due.quick)) continue;
      const claims = await claim(pool, { slow: lane.slow, limit: lane.free, claimMs });
      for (const delivery of claims.claimed) this.#begin(delivery, claims.secrets.get(delivery.endpointId) ?? [], lane);
      claimed += claims.claimed.length;
    }
    if (claimed > 0 || fannedOut === 'more') return 0;
    return fannedOut === 'busy' ? fanOutRetryMs : webhookPollMs;
  }

  /** Begins a delivery. One that gets no answer soon gives its place back to the quick ones, and its endpoint is slow from then on. */
  #begin(claimed: Claimed, secrets: readonly SealedSecret[], lane: Lane): void {
    let place = lane;
    place.free--;
    const timer = setTimeout(() => {
      if (place.slow || this.#slow.free <= -deliveriesMovedMax) return;
      this.#quick.free++;
      place = this.#slow;
      place.free--;
      void this.#tellSlow(claimed.endpointId);
      this.wake();
    }, endpointQuickMs);
    const delivery = this.#deliver(claimed, secrets).finally(() => {
      clearTimeout(timer);
      place.free++;
      this.#underWay.delete(delivery);
      this.wake();
    });
    this.#underWay.add(delivery);
  }

  /** Never rejects: its outcome tells the same later. */
  async #tellSlow(endpointId: string): Promise<void> {
    const { pool, log } = this.#options;
    await markSlow(pool, endpointId).catch((err: unknown) => log.warn({ err }, 'a slow endpoint could not be marked'));
  }

  /** Never rejects. */
  async #deliver(claimed: Claimed, sealed: readonly SealedSecret[]): Promise<void> {
    const { log } = this.#options;
    const secrets = sealed.flatMap((secret) => this.#open(secret) ?? []);
    try {
      const made = await attempt(claimed, secrets, this.#options, this.#cancel.signal);
      await this.#writer.add({ claimed, attempt: made });
    } catch (err) {
      // A fault of ours: the claim ends by itself.
      log.error({ err, delivery_id: claimed.id }, 'a webhook delivery broke off');
    }
  }

  #open(secret: SealedSecret): SigningSecret | null {
    const known = this.#opened.get(secret.id);
    if (known !== undefined) return known;
    const opened = openSigningSecret(this.#options.key, secret);
    if (opened === null)
      this.#options.log.error({ secret_id: secret.id }, 'a webhook secret cannot be opened: was SECRETS_KEY changed?');
    if (this.#opened.size >= openedSecretsMax) this.#opened.clear();
    this.#opened.set(secret.id, opened);
    return opened;
  }

  async #pause(ms: number): Promise<void> {
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, ms);
      this.#wake = () => {
        clearTimeout(timer);
        resolve();
      };
    });
    this.#wake = undefined;
  }
}
