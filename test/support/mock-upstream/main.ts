import type { AddressInfo } from 'node:net';
import { parseArgs } from 'node:util';
import { createCannedServer } from './canned.ts';
import { createMockServer } from './server.ts';

/**
 * A mock model provider (Anthropic Messages, OpenAI Chat Completions and Responses) in a process of its own.
 * Prints one line of JSON, `{"port": n}`, when it listens; SIGTERM and SIGINT end it.
 */
const { values } = parseArgs({
  options: {
    port: { type: 'string', default: '0' },
    /** Each request is appended to this file as a line of JSON when it arrived and another when it ended. */
    record: { type: 'string' },
    /** Canned bytes as fast as they go, nothing recorded. */
    bench: { type: 'boolean', default: false },
    /** Ends with its stdin, so that a test run that was killed leaves no provider behind. */
    attached: { type: 'boolean', default: false },
  },
});

const server = values.bench ? createCannedServer() : createMockServer(values.record ?? null);
server.listen(Number(values.port), '127.0.0.1', () => {
  process.stdout.write(`${JSON.stringify({ port: (server.address() as AddressInfo).port })}\n`);
});

function stop(): void {
  server.close();
  server.closeAllConnections();
  process.stdin.destroy();
}

process.once('SIGTERM', stop);
process.once('SIGINT', stop);
if (values.attached) process.stdin.once('end', stop).resume();
