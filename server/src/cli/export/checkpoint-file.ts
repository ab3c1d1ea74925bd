import { closeSync, fstatSync, lstatSync, openSync, rmSync } from 'node:fs';
import { DatabaseSync } from 'node:sqlite';
import { CliError } from '../context.ts';

/** What an export was asked for. */
export interface AskedExport {
  /** Words; none is all. */
  readonly kinds: readonly string[];
  /** Null is the key's own. */
  readonly projectId: string | null;
}

/** How far a file has come: so many bytes of it are what was told up to the position. */
export interface Checkpoint {
  readonly asked: AskedExport;
  readonly position: string;
  readonly bytes: number;
  readonly records: number;
}

/** For its owner alone: what it goes with holds all that the project does. */
export const fileMode = 0o600;

// SQLite's result codes (sqlite.org/rescode.html)
const busy = 5;
const damaged: ReadonlySet<unknown> = new Set([11, 26]);

/**
 * The checkpoint of a file that is being written: an SQLite database of one row, and the lock of that file at once. The kernel
 * holds it for as long as the process lives, whatever ends that, so that no two write the same file and no lock of a dead one
 * is left.
 */
export class CheckpointFile {
  readonly #path: string;
  readonly #database: DatabaseSync;

  private constructor(path: string, database: DatabaseSync) {
    this.#path = path;
    this.#database = database;
  }

  /**
   * @param name what it is called to who reads
   * @param anew whether one that is damaged is replaced
   * @throws CliError when another process has it, or it is damaged; and what the file system refuses
   */
  static take(path: string, name: string, anew: boolean): CheckpointFile {
    try {
      return CheckpointFile.#take(path, name);
    } catch (error) {
      if (!damaged.has(resultOf(error))) throw error;
      if (!anew) throw new CliError(`${name} is damaged: begin anew with --force.`);
      removeAt(path);
      return CheckpointFile.#take(path, name);
    }
  }

  static #take(path: string, name: string): CheckpointFile {
    const before = inodeAt(path, name) ?? makeAt(path);
    const database = new DatabaseSync(path);
    try {
      // In this mode the lock of the first write stays until the database is closed.
      database.exec(`PRAGMA locking_mode = EXCLUSIVE; BEGIN EXCLUSIVE;
        CREATE TABLE IF NOT EXISTS checkpoint (id INTEGER PRIMARY KEY CHECK (id = 1), told TEXT NOT NULL); COMMIT`);
      // Else who had it before has removed it meanwhile, and somebody else may have another one.
      if (inodeAt(path, name) === before) return new CheckpointFile(path, database);
    } catch (error) {
      if (resultOf(error) !== busy) {
        database.close();
        throw error;
      }
    }
    database.close();
    throw new CliError(`Another process is writing an export here, and has ${name}: wait for it, or end it.`);
  }

  /** @returns null where there is none, or none that can be read */
  read(): Checkpoint | null {
    const told = this.#database.prepare('SELECT told FROM checkpoint').get()?.['told'];
    return typeof told === 'string' ? checkpointIn(told) : null;
  }

  /** It outlives the process and the machine when this returns. */
  write(checkpoint: Checkpoint): void {
    this.#database.prepare('INSERT OR REPLACE INTO checkpoint VALUES (1, ?)').run(JSON.stringify(checkpoint));
  }

  /** Leaves it for who goes on. */
  release(): void {
    if (this.#database.isOpen) this.#database.close();
  }

  remove(): void {
    // It is unlinked before it is let go of, and then nothing of it is left to do by name: the next of that name may be there.
    this.#database.exec('PRAGMA journal_mode = MEMORY');
    removeAt(this.#path);
    this.#database.close();
  }
}

function checkpointIn(text: string): Checkpoint | null {
  try {
    const { asked, position, bytes, records } = JSON.parse(text) as Partial<Checkpoint>;
    const isWhole = typeof position === 'string' && Array.isArray(asked?.kinds) && isCount(bytes) && isCount(records);
    return isWhole ? { asked, position, bytes, records } : null;
  } catch {
    return null;
  }
}

function isCount(value: unknown): value is number {
  return Number.isSafeInteger(value) && Number(value) >= 0;
}

/** @returns null where nothing is @throws CliError for what is no regular file */
export function inodeAt(path: string, name: string): bigint | null {
  const found = lstatSync(path, { bigint: true, throwIfNoEntry: false });
  if (found === undefined) return null;
  if (found.isFile()) return found.ino;
  throw new CliError(`${name} is no regular file: choose another name.`);
}

function makeAt(path: string): bigint {
  const file = openSync(path, 'wx', fileMode);
  try {
    return fstatSync(file, { bigint: true }).ino;
  } finally {
    closeSync(file);
  }
}

function removeAt(path: string): void {
  rmSync(`${path}-journal`, { force: true });
  rmSync(path, { force: true });
}

/** SQLite's code of what went wrong; undefined for what is none of its errors. */
function resultOf(error: unknown): unknown {
  return error instanceof Error && 'errcode' in error ? error.errcode : undefined;
}
