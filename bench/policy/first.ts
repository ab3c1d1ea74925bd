import { parentPort, workerData } from 'node:worker_threads';
import { judge } from '../../server/src/policy/rules.ts';
import { hostileCalls, indexOf } from './documents.ts';

// A thread has compiled code of its own: this is what the first call takes in a process that has just started.
const { texts, call } = workerData as { readonly texts: readonly string[]; readonly call: string };
const facts = hostileCalls[call];
if (facts === undefined) throw new Error(`there is no call ${call}`);
const index = indexOf(texts);
const startedMs = performance.now();
judge(index, facts);
parentPort?.postMessage(performance.now() - startedMs);
