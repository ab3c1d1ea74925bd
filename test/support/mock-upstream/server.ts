import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { play } from './play.ts';
import { decide } from './provider.ts';
import { nowMs, RequestLog } from './record.ts';
import { type Script, scriptOfModel, scriptSchema } from './script.ts';

const bodyBytesMax = 64 * 1024 * 1024;
const scriptsMax = 1_000;
const pageMax = 500;
/** Longer than a client's pool keeps a connection, so that this side never closes one that is about to be used. */
const keepAliveMs = 120_000;

/** A provider that answers by script and keeps a record. `recordFile` null: the record is in memory only. */
export function createMockServer(recordFile: string | null): Server {
  const log = new RequestLog(recordFile);
  const scripts: Script[] = [];
  const server = createServer((request, response) => {
    serve(request, response).catch((error: unknown) => {
      // A fault of the mock itself: the test that meets it must see that it was no scripted one.
      process.stderr.write(`mock upstream: ${String(error)}\n`);
      response.socket?.destroy();
    });
  });
  server.keepAliveTimeout = keepAliveMs;
  server.requestTimeout = 0;
  return server;

  async function serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const receivedAt = nowMs();
    const { socket } = request;
    const bytesBefore = socket.bytesWritten;
    const gone = new AbortController();
    response.once('close', () => gone.abort());
    const { method = '', url: path = '/' } = request;
    const { body, complete: bodyComplete } = await readBody(request);
    if (path.startsWith('/__mock/')) return control(`${method} ${path}`, body, response);

    const record = log.received({ receivedAt, method, path, headers: pairs(request.rawHeaders), bodyComplete }, body);
    if (!bodyComplete) return log.ended(record, 'client_aborted');
    const operation = `${method} ${path.split('?')[0]}`;
    const anthropicVersion = request.headers['anthropic-version'] !== undefined;
    const decision = decide({ sequence: record.id, operation, anthropicVersion, body }, takeScript);
    record.model = decision.model;
    const outcome = await play({ response, record, gone: gone.signal }, decision.performance, decision.script).catch(
      (error: unknown) => {
        // A server that no longer listens is being stopped, and ended the connection itself.
        if (gone.signal.aborted || isBrokenConnection(error))
          return server.listening ? ('client_aborted' as const) : ('cut' as const);
        throw error;
      },
    );
    record.bytesSent = socket.bytesWritten - bytesBefore;
    log.ended(record, outcome);
  }

  /** Scripts that end come first, in the order they were sent; then the newest that stays; then the model's own name. */
  function takeScript(model: string): Script | null {
    const fits = (script: Script) => script.model === undefined || script.model === model;
    const script =
      scripts.find((each) => each.times !== undefined && fits(each)) ??
      scripts.findLast((each) => each.times === undefined && fits(each));
    if (script?.times !== undefined && --script.times === 0) scripts.splice(scripts.indexOf(script), 1);
    return script ?? scriptOfModel(model);
  }

  function control(operation: string, body: Buffer, response: ServerResponse): void {
    const answer = (status: number, value: unknown) => {
      response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(value));
    };
    const [command, query] = operation.split('?');
    switch (command) {
      case 'GET /__mock/requests': {
        const asked = new URLSearchParams(query);
        const limit = Math.min(Number(asked.get('limit') ?? pageMax), pageMax);
        return answer(200, log.page(Number(asked.get('after') ?? 0), limit));
      }
      case 'POST /__mock/scripts': {
        const script = scriptSchema.safeParse(JSON.parse(body.toString('utf8')));
        if (!script.success) return answer(400, { error: script.error.message });
        if (scripts.length >= scriptsMax) return answer(429, { error: `more than ${scriptsMax} scripts` });
        scripts.push(script.data);
        return answer(200, {});
      }
      case 'POST /__mock/reset':
        scripts.length = 0;
        log.clear();
        return answer(200, {});
      default:
        return answer(404, { error: `no such command: ${operation}` });
    }
  }
}

/** A write may fail before the socket tells that the client has gone. */
function isBrokenConnection(error: unknown): boolean {
  return error instanceof Error && 'syscall' in error && error.syscall === 'write';
}

/** The exact bytes of the body; not complete where the client went away. */
async function readBody(request: IncomingMessage): Promise<{ body: Buffer; complete: boolean }> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  try {
    for await (const chunk of request as AsyncIterable<Buffer>) {
      bytes += chunk.length;
      if (bytes > bodyBytesMax) throw new Error('the body is larger than the mock accepts');
      chunks.push(chunk);
    }
    return { body: Buffer.concat(chunks), complete: request.complete };
  } catch (error) {
    if (bytes > bodyBytesMax) throw error;
    return { body: Buffer.concat(chunks), complete: false };
  }
}

function pairs(rawHeaders: readonly string[]): [string, string][] {
  return Array.from({ length: rawHeaders.length / 2 }, (_, index) => [
    rawHeaders[index * 2] ?? '',
    rawHeaders[index * 2 + 1] ?? '',
  ]);
}
