import { tieToJob } from './callback-store.ts';
import { type Handler, Refused, type Work } from './handlers.ts';
import { textAt } from './pointer.ts';
import type { JobStatus, StatusReader } from './status-reader.ts';
import { tellOrRefuse, type TellRun, toldOf } from './tell-run.ts';

// Behind these a job has no other state.
const lastStates = new Set(['done', 'failed']);
// A callback of `serve` tells of an asset, and names the job that it was made by.
const jobPointers = ['/render', '/id'];

/**
 * Tells a run what became of a job: what its sender says when it is asked, and never what came by the path, which proves only that
 * somebody knows the path.
 */
export function tellOfJob(tell: TellRun, reader: StatusReader): Handler {
  return {
    async prepare({ source, content }, signal) {
      return reader.read(source, jobIdOf(content), signal);
    },

    async apply(tx, work, prepared) {
      const { event } = work;
      const job = prepared as JobStatus;
      if (event.callbackId === null || !(await tieToJob(tx, event.callbackId, job.id)))
        throw new Refused('Its path is of another job, or is gone.');
      if (claimedState(work) !== job.status && !lastStates.has(job.status))
        throw new Error(`The sender says that the job is "${job.status.slice(0, 50)}".`);
      const { runId } = event;
      if (runId === null) return { state: 'kept', runId, note: `The job is "${job.status.slice(0, 50)}".` };
      const told = toldOf(work, runId, { job });
      // What came by the path is nobody's word.
      const { body: _unproven, ...data } = JSON.parse(told.data) as Record<string, unknown>;
      await tellOrRefuse(tell, tx, {
        ...told,
        level: job.status === 'failed' ? 'error' : 'info',
        message: `A job of ${work.source.name} is "${job.status.slice(0, 50)}".`,
        data: JSON.stringify({ ...data, type: '' }),
      });
      return { state: 'processed', runId, note: '' };
    },
  };
}

function claimedState({ content }: Work): string {
  return textAt(content, '/status') ?? '';
}

/** @throws Refused */
function jobIdOf(content: unknown): string {
  const id = jobPointers.map((pointer) => textAt(content, pointer)).find((text) => text !== null);
  // It becomes a part of a URL.
  if (id !== undefined && id !== null && /^[A-Za-z0-9-]{1,100}$/.test(id)) return id;
  throw new Refused('It names no job.');
}
