import { createInterface } from 'node:readline';
import { closedLoop } from './closed-loop.ts';
import type { Job } from './job.ts';
import { streams } from './streams.ts';

/** The load generator, in a process of its own; it ends with its stdin. */
for await (const line of createInterface(process.stdin)) {
  const job = JSON.parse(line) as Job;
  const result = job.kind === 'closed_loop' ? await closedLoop(job) : await streams(job);
  process.stdout.write(`${JSON.stringify(result)}\n`);
}
