import { constants, lstatSync } from 'node:fs';
import { type FileHandle, open, rename, rm } from 'node:fs/promises';
import { dirname } from 'node:path';
import { CliError } from '../context.ts';
import { exitCodes } from '../exit-codes.ts';
import { type AskedExport, type Checkpoint, CheckpointFile, fileMode, inodeAt } from './checkpoint-file.ts';

const checkpointEveryMs = 1_000;

/** What is done with what stands there already. */
export interface Standing {
  readonly resume: boolean;
  readonly force: boolean;
}

/** What the command line asks for; undefined is not stated. */
export interface AskedOptions {
  readonly kinds: readonly string[] | undefined;
  readonly projectId: string | undefined;
}

/**
 * A file that is written beside its name until it is whole, with a checkpoint beside that: whatever ends the process, what
 * the checkpoint says is on the disk, and what is behind it is cut off when the export goes on.
 */
export class StateFile {
  readonly #path: string;
  readonly #name: string;
  readonly #file: FileHandle;
  readonly #checkpoint: CheckpointFile;
  #told: Checkpoint;
  #savedAt = performance.now();

  private constructor(path: string, name: string, parts: OpenParts) {
    this.#path = path;
    this.#name = name;
    this.#file = parts.file;
    this.#checkpoint = parts.checkpoint;
    this.#told = parts.told;
  }

  /**
   * @param name the path as it was given
   * @throws CliError when something is in the way, another process writes it, or it cannot be gone on with
   */
  static async open(path: string, name: string, asked: AskedOptions, standing: Standing): Promise<StateFile> {
    return onDisk(name, '', async () => {
      const checkpoint = CheckpointFile.take(`${path}.position`, `${name}.position`, standing.force);
      try {
        const told = begin(path, name, checkpoint, asked, standing);
        // It is known what is written before any of it is.
        checkpoint.write(told);
        const file = await openPartial(`${path}.partial`, `${name}.partial`, told);
        return new StateFile(path, name, { checkpoint, told, file });
      } catch (error) {
        if (isThere(`${path}.partial`)) checkpoint.release();
        else checkpoint.remove();
        throw error;
      }
    });
  }

  /** What it was begun with. */
  get asked(): AskedExport {
    return this.#told.asked;
  }

  /** Where to go on. */
  get position(): string {
    return this.#told.position;
  }

  /** How many records it has. */
  get records(): number {
    return this.#told.records;
  }

  /** Adds whole lines, up to a position. @throws CliError */
  async append(lines: string, records: number, position: string): Promise<void> {
    await this.#writing(async () => {
      const chunk = Buffer.from(lines);
      const { bytes: start, records: before } = this.#told;
      for (let at = 0; at < chunk.length;) {
        at += (await this.#file.write(chunk, at, chunk.length - at, start + at)).bytesWritten;
      }
      this.#told = { ...this.#told, position, bytes: start + chunk.length, records: before + records };
      if (performance.now() - this.#savedAt >= checkpointEveryMs) await this.#save();
    });
  }

  /** It is whole: it gets its name. @throws CliError */
  async finish(): Promise<void> {
    await this.#writing(async () => {
      const { ino } = await this.#file.stat({ bigint: true });
      if (inodeAt(`${this.#path}.partial`, `${this.#name}.partial`) !== ino) {
        throw new CliError(`${this.#name}.partial is another file than was written: begin anew with --force.`);
      }
      await this.#file.sync();
      await rename(`${this.#path}.partial`, this.#path);
      await this.#file.close();
      await syncFolder(dirname(this.#path));
      this.#checkpoint.remove();
    });
  }

  /** Leaves it to be gone on with, or removes it where nothing was told. What fails of that leaves what was saved before. */
  async leave(): Promise<void> {
    if (this.#told.position !== '') {
      await this.#save().catch(() => undefined);
      await this.#file.close().catch(() => undefined);
      return this.#checkpoint.release();
    }
    await this.#file.close();
    await rm(`${this.#path}.partial`, { force: true });
    this.#checkpoint.remove();
  }

  /** Makes sure that what was appended outlives the process and the machine. */
  async #save(): Promise<void> {
    await this.#file.sync();
    this.#checkpoint.write(this.#told);
    this.#savedAt = performance.now();
  }

  #writing(work: () => Promise<void>): Promise<void> {
    return onDisk(this.#name, this.#told.position === '' ? '' : ' --resume goes on with it.', work);
  }
}

interface OpenParts {
  readonly file: FileHandle;
  readonly checkpoint: CheckpointFile;
  readonly told: Checkpoint;
}

/** Where it begins, or goes on. @throws CliError */
function begin(
  path: string,
  name: string,
  checkpoint: CheckpointFile,
  asked: AskedOptions,
  { resume, force }: Standing,
): Checkpoint {
  const stands = inodeAt(path, name) !== null;
  const isBegun = isThere(`${path}.partial`);
  if (stands && !force && !(resume && isBegun)) throw new CliError(`${name} exists: --force replaces it.`);
  if (isBegun && !resume && !force) {
    throw new CliError(`An export to ${name} was interrupted: --resume goes on with it, --force begins anew.`);
  }
  if (!resume || !isBegun) {
    return { asked: { kinds: [], projectId: null, ...stated(asked) }, position: '', bytes: 0, records: 0 };
  }
  const told = checkpoint.read();
  if (told === null) throw new CliError(`${name}.position does not say how far it came: begin anew with --force.`);
  const { kinds, projectId } = { ...told.asked, ...stated(asked) };
  if (projectId === told.asked.projectId && new Set(kinds).symmetricDifference(new Set(told.asked.kinds)).size === 0) {
    return told;
  }
  throw new CliError(
    `The export to ${name} was begun with ${spoken(told.asked)}: --resume goes on with that, without saying it again.`,
    exitCodes.usage,
  );
}

function stated({ kinds, projectId }: AskedOptions): Partial<AskedExport> {
  return { ...(kinds !== undefined && { kinds }), ...(projectId !== undefined && { projectId }) };
}

function spoken({ kinds, projectId }: AskedExport): string {
  const project = projectId === null ? "the key's own project" : `project ${projectId}`;
  return `${kinds.length === 0 ? 'all kinds' : `the kinds ${kinds.join(', ')}`} of ${project}`;
}

/** Goes on with the file where something was told, else makes it anew: what stands there is another's, or nothing worth. */
async function openPartial(path: string, name: string, { position, bytes }: Checkpoint): Promise<FileHandle> {
  if (position === '') {
    await rm(path, { force: true });
    return open(path, 'wx', fileMode);
  }
  inodeAt(path, name);
  const file = await open(path, constants.O_RDWR | constants.O_NOFOLLOW);
  try {
    await file.chmod(fileMode);
    const { size } = await file.stat();
    if (size < bytes) throw new CliError(`${name} is shorter than its checkpoint says: begin anew with --force.`);
    await file.truncate(bytes);
    return file;
  } catch (error) {
    await file.close();
    throw error;
  }
}

function isThere(path: string): boolean {
  return lstatSync(path, { throwIfNoEntry: false }) !== undefined;
}

async function syncFolder(path: string): Promise<void> {
  const folder = await open(path, 'r');
  try {
    await folder.sync();
  } finally {
    await folder.close();
  }
}

/** Has what the file system, or SQLite on it, refuses said in a sentence. @param advice what to do, behind it */
async function onDisk<T>(name: string, advice: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    if (!(error instanceof Error) || !('syscall' in error || 'errcode' in error)) throw error;
    throw new CliError(`${name} cannot be written: ${error.message}.${advice}`);
  }
}
