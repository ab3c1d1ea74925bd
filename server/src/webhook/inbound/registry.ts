import type { Handlers } from './handlers.ts';
import type { StatusReader } from './status-reader.ts';
import { tellOfJob } from './tell-of-job.ts';
import { keep, tellRun, type TellRun } from './tell-run.ts';

/** The uses, with what the composition gives them. */
export function createHandlers(tell: TellRun, reader: StatusReader): Handlers {
  return { keep, tell_run: tellRun(tell), tell_run_of_job: tellOfJob(tell, reader) };
}
