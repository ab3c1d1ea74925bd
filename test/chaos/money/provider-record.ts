import { createReadStream } from 'node:fs';
import { createInterface } from 'node:readline';
import type { Tokens } from '../../support/mock-upstream/answer.ts';
import type { RequestRecord } from '../../support/mock-upstream/record.ts';
import { nanoPerToken } from './calls.ts';

/** A request as the provider knows it. */
export interface Seen {
  /** Under which it came. */
  readonly attemptId: string;
  /** What the client wrote into its message. */
  readonly label: string;
  readonly model: string;
  /** Epoch milliseconds. */
  readonly receivedAt: number;
  readonly usd: bigint;
  readonly tokens: bigint;
  /** It reports more than the declared worst case: more input than the body has bytes, or more output than was allowed. */
  readonly isOverrun: boolean;
}

/** More than any provider may add to a prompt of ours. */
const overheadTokens = 1_500;

/** The whole of the provider's own record, out of its file: a line when a request came, another when it ended. */
export async function readRecord(file: string): Promise<Seen[]> {
  const requests = new Map<number, RequestRecord>();
  for await (const line of createInterface({ input: createReadStream(file) })) {
    const part = JSON.parse(line) as RequestRecord;
    requests.set(part.id, { ...requests.get(part.id), ...part });
  }
  return [...requests.values()].map(seen);
}

function seen({ headers, body, bodyBytes, model, receivedAt, billed }: RequestRecord): Seen {
  const text = Buffer.from(body ?? '', 'base64').toString();
  const asked = JSON.parse(text) as Record<string, unknown>;
  const maxTokens = Number(asked['max_tokens'] ?? asked['max_completion_tokens'] ?? asked['max_output_tokens']);
  const used = billed ?? nothing;
  const input = used.input + used.cacheRead + used.cacheWrite5m + used.cacheWrite1h;
  return {
    attemptId: headers.find(([name]) => name.toLowerCase() === 'x-request-id')?.[1] ?? '',
    label: /call [\w.-]+/.exec(text)?.[0] ?? '',
    model: model ?? '',
    receivedAt,
    usd: BigInt(input) * nanoPerToken.input + BigInt(used.output) * nanoPerToken.output,
    tokens: BigInt(input + used.output),
    isOverrun: input > bodyBytes + overheadTokens || used.output > maxTokens,
  };
}

const nothing: Tokens = { input: 0, output: 0, cacheRead: 0, cacheWrite5m: 0, cacheWrite1h: 0, reasoning: 0 };
