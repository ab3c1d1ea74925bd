import { createInterface } from 'node:readline';
import { calls } from './calls.ts';
import { ingest } from './ingest.ts';
import type { Job } from './job.ts';

/** The client of the control API, in a process of its own; it ends with its stdin. */
for await (const line of createInterface(process.stdin)) {
  const job = JSON.parse(line) as Job;
  const result = job.kind === 'calls' ? await calls(job) : await ingest(job);
  process.stdout.write(`${JSON.stringify(result)}\n`);
}
