import type { Client } from 'pg';
import type { Clock } from '../base/clock.ts';
import { PortcullisError } from '../base/errors.ts';
import { controlAgeMsMax, controlPollMs, controlReadMs, controlRetryMsMax } from '../base/limits.ts';
import type { Logger } from '../base/log.ts';
import { createClient, type ConnectionOptions } from './pool.ts';
import { outsideRequests } from './request-scope.ts';
import { controlChannel, type Queryable } from './tx.ts';

/** An in-memory index of control state, fed by rows with a `control_version`. */
export interface ControlPart {
  readonly name: string;
  /**
   * Reads every row newer than `since` (0 is all) from the snapshot that `db` stands on.
   * @returns what puts them into memory, synchronously; called once, after all parts have loaded, or never
   */
  load(db: Queryable, since: bigint): Promise<() => void>;
}

export interface ControlFeedOptions {
  readonly connection: ConnectionOptions;
  readonly parts: readonly ControlPart[];
  readonly clock: Clock;
  readonly log: Logger;
  /** Age of the last good read beyond which the state no longer counts. */
  readonly maxAgeMs?: number;
}

/**
 * Keeps a replica's control state as new as the database ("Control state" in ARCHITECTURE.md). One connection of its own
 * both listens and reads, so that neither a busy pool nor a lost notification makes the state old; when the database is
 * away it says so by its age, and catches up by itself.
 */
export class ControlFeed {
  readonly #options: ControlFeedOptions;
  readonly #maxAgeMs: number;
  readonly #appliedListeners: (() => void)[] = [];
  readonly #staleListeners: (() => void)[] = [];
  #client: Client | undefined;
  #version = 0n;
  /** Monotonic time at which the last good read began. */
  #readAt = -Infinity;
  /** What the database's clock is ahead of our monotonic one. */
  #databaseAheadMs = 0;
  #reading: Promise<void> | undefined;
  #next: Promise<void> | undefined;
  #failures = 0;
  #running = false;
  #pollTimer: NodeJS.Timeout | undefined;
  #ageTimer: NodeJS.Timeout | undefined;

  constructor(options: ControlFeedOptions) {
    this.#options = options;
    this.#maxAgeMs = options.maxAgeMs ?? controlAgeMsMax;
  }

  /** Every change up to this version is in memory. */
  get version(): bigint {
    return this.#version;
  }

  /** Milliseconds since the last good read began; infinite before the first. */
  ageMs(): number {
    return this.#options.clock.monotonic() - this.#readAt;
  }

  /** Epoch milliseconds by the database's clock, as far as the last read told: ours may be wrong. */
  databaseNow(): number {
    return this.#options.clock.monotonic() + this.#databaseAheadMs;
  }

  /** Why nothing may be let through: the state is older than the limit; null when it is not. */
  staleness(): PortcullisError | null {
    const age = this.ageMs();
    if (age <= this.#maxAgeMs) return null;
    return new PortcullisError('unavailable', 'The gate cannot read its control state, so it lets nothing through.', {
      retryAfterS: Math.ceil(controlRetryMsMax / 1000),
      internal: `control state is ${Math.round(age)} ms old, the limit is ${this.#maxAgeMs} ms`,
    });
  }

  /** @throws PortcullisError unavailable when the state is older than the limit */
  assertFresh(): void {
    const stale = this.staleness();
    if (stale) throw stale;
  }

  /** Called after each read that changed something, in the turn that changed it. */
  onApplied(listener: () => void): void {
    this.#appliedListeners.push(listener);
  }

  /** Called once each time the state passes the age limit. */
  onStale(listener: () => void): void {
    this.#staleListeners.push(listener);
  }

  /**
   * Loads everything, then keeps it current until `stop`.
   * @throws PortcullisError unavailable when the first load fails
   */
  async start(): Promise<void> {
    this.#running = true;
    try {
      await this.refresh();
    } catch (error) {
      await this.stop();
      throw error;
    }
    this.#schedulePoll();
  }

  /** Ends the read in flight and the connection; nothing is read after it. */
  async stop(): Promise<void> {
    this.#running = false;
    clearTimeout(this.#pollTimer);
    clearTimeout(this.#ageTimer);
    await (this.#next ?? this.#reading)?.catch(() => undefined);
    const client = this.#client;
    this.#client = undefined;
    await client?.end();
  }

  /**
   * Resolves when a read that began after this call is in memory; callers at the same time share it.
   * @throws PortcullisError unavailable when that read fails
   */
  refresh(): Promise<void> {
    if (this.#next) return this.#next;
    if (!this.#reading) return this.#beginRead();
    this.#next = this.#reading
      .catch(() => undefined)
      .then(() => {
        this.#next = undefined;
        return this.#beginRead();
      });
    return this.#next;
  }

  /**
   * Resolves when this replica has seen `version`: after a control write, before its answer goes out.
   * @throws PortcullisError unavailable after `timeoutMs`, or when the database cannot be read
   */
  async reach(version: bigint, timeoutMs: number): Promise<void> {
    if (this.#version >= version) return;
    let timer: NodeJS.Timeout | undefined;
    const timeout = new Promise<never>((_resolve, reject) => {
      timer = setTimeout(() => reject(new Error(`no answer within ${timeoutMs} ms`)), timeoutMs);
    });
    try {
      await Promise.race([this.refresh(), timeout]);
      if (this.#version < version) throw new Error(`the database has version ${this.#version}, not ${version}`);
    } catch (cause) {
      throw new PortcullisError(
        'unavailable',
        'The change is stored, but this server has not read it back yet: look before you repeat it.',
        { cause },
      );
    } finally {
      clearTimeout(timer);
    }
  }

  #beginRead(): Promise<void> {
    // A read is for everybody who waits for it, and so is what it tells: it is no part of the request that asked first.
    const reading = outsideRequests(() => this.#read()).finally(() => {
      this.#reading = undefined;
    });
    this.#reading = reading;
    return reading;
  }

  async #read(): Promise<void> {
    if (!this.#running)
      throw new PortcullisError('unavailable', 'The control state is not being read: the server stops.');
    const beganAt = this.#options.clock.monotonic();
    try {
      const client = await this.#connect();
      const changed = (await this.#versionIn(client)) > this.#version;
      const loaded = changed ? await this.#load(client) : undefined;
      // From here to the end nothing else runs in between.
      for (const apply of loaded?.changes ?? []) apply();
      this.#version = loaded?.version ?? this.#version;
      this.#readAt = beganAt;
      this.#watchAge();
      if (this.#failures > 0) this.#options.log.info({ version: this.#version }, 'The control state is read again.');
      this.#failures = 0;
      if (changed) this.#tell(this.#appliedListeners);
    } catch (err) {
      if (this.#failures === 0) this.#options.log.error({ err }, 'The control state cannot be read.');
      this.#failures += 1;
      this.#dropConnection();
      throw new PortcullisError('unavailable', 'The control state cannot be read from the database.', { cause: err });
    }
  }

  /** Reads what is new, all parts in one snapshot. */
  async #load(client: Client): Promise<{ version: bigint; changes: (() => void)[] }> {
    await client.query('BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY');
    const version = await this.#versionIn(client);
    const changes: (() => void)[] = [];
    for (const part of this.#options.parts) changes.push(await this.#loadPart(part, client));
    await client.query('COMMIT');
    return { version, changes };
  }

  async #loadPart(part: ControlPart, client: Client): Promise<() => void> {
    try {
      return await part.load(client, this.#version);
    } catch (cause) {
      throw new Error(`control part "${part.name}": ${String(cause)}`, { cause });
    }
  }

  async #versionIn(client: Client): Promise<bigint> {
    const { clock } = this.#options;
    const before = clock.monotonic();
    const { rows } = await client.query<{ version: bigint; now: Date }>(
      'SELECT version, clock_timestamp() AS now FROM control_version',
    );
    const [row] = rows;
    if (row) this.#databaseAheadMs = row.now.getTime() - (before + clock.monotonic()) / 2;
    const version = row?.version ?? 0n;
    if (version < this.#version) {
      throw new Error(`the database went back from version ${this.#version} to ${version}: start this process again`);
    }
    return version;
  }

  /** The connection that is open, or a new one that listens already: what it then reads misses nothing. */
  async #connect(): Promise<Client> {
    if (this.#client) return this.#client;
    const { connection } = this.#options;
    const client = createClient({ ...connection, statementMs: Math.min(connection.statementMs, controlReadMs) });
    this.#client = client;
    const forget = () => {
      if (this.#client === client) this.#client = undefined;
    };
    client.on('error', forget);
    client.on('end', forget);
    client.on('notification', ({ payload = '' }) => {
      if (/^\d+$/.test(payload) && BigInt(payload) > this.#version) this.refresh().catch(() => undefined);
    });
    await client.connect();
    await client.query(`LISTEN ${controlChannel}`);
    return client;
  }

  /** Does not wait: saying goodbye to a database that is away may take as long as it is away. */
  #dropConnection(): void {
    this.#client?.end().catch(() => undefined);
    this.#client = undefined;
  }

  #schedulePoll(): void {
    if (!this.#running) return;
    const pause = Math.min(controlPollMs * 2 ** this.#failures, controlRetryMsMax);
    this.#pollTimer = setTimeout(() => {
      const again = () => this.#schedulePoll();
      this.refresh().then(again, again);
    }, pause);
  }

  /** Tells when the state passes the age limit, unless it is read again before. */
  #watchAge(): void {
    clearTimeout(this.#ageTimer);
    if (!this.#running) return;
    const leftMs = this.#maxAgeMs - this.ageMs();
    this.#ageTimer = setTimeout(
      () => {
        if (this.ageMs() <= this.#maxAgeMs) return this.#watchAge();
        this.#options.log.error({ ageMs: this.ageMs() }, 'The control state is too old: new work is refused.');
        this.#tell(this.#staleListeners);
      },
      Math.min(leftMs + 1, controlPollMs),
    );
  }

  #tell(listeners: readonly (() => void)[]): void {
    for (const listener of listeners) {
      try {
        listener();
      } catch (err) {
        this.#options.log.error({ err }, 'A listener to the control state failed.');
      }
    }
  }
}
