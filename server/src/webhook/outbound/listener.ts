import type { Client } from 'pg';
import { webhookPollMs } from '../../base/webhook-limits.ts';
import { outboxChannel } from '../../outbox/emit.ts';
import { type ConnectionOptions, createClient } from '../../pg/pool.ts';

/** Listens for events on a connection of its own, and opens another one where that breaks; meanwhile a poll sees them. */
export class OutboxListener {
  readonly #connection: ConnectionOptions;
  readonly #onEvent: () => void;
  #client: Client | undefined;
  #timer: NodeJS.Timeout | undefined;
  #stopped = false;

  constructor(connection: ConnectionOptions, onEvent: () => void) {
    this.#connection = connection;
    this.#onEvent = onEvent;
  }

  start(): void {
    void this.#open();
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    clearTimeout(this.#timer);
    await this.#client?.end().catch(() => undefined);
  }

  /** Never rejects. */
  async #open(): Promise<void> {
    const client = createClient(this.#connection);
    this.#client = client;
    const again = () => this.#reopen(client);
    client.on('error', again);
    client.on('end', again);
    client.on('notification', this.#onEvent);
    try {
      await client.connect();
      await client.query(`LISTEN ${outboxChannel}`);
      // What was announced before.
      this.#onEvent();
    } catch {
      again();
    }
  }

  #reopen(broken: Client): void {
    if (this.#client !== broken || this.#stopped) return;
    this.#client = undefined;
    broken.end().catch(() => undefined);
    this.#timer = setTimeout(() => void this.#open(), webhookPollMs);
  }
}
