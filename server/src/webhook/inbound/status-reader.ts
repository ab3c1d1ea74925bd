import { statusBytesMax, statusReadMs } from '../../base/inbound-limits.ts';
import type { Egress } from '../../net/egress/egress.ts';
import { parseJson, textAt } from './pointer.ts';
import type { Source } from './sources.ts';

const defaultStatusUrl = 'https://api.shotstack.io/edit/v1/render/{id}';

/** What the sender itself says of a job. */
export interface JobStatus {
  readonly id: string;
  readonly status: string;
  /** What it made; empty is nothing. */
  readonly url: string;
  readonly error: string;
}

/** Asks senders that cannot sign what became of their jobs. */
export class StatusReader {
  readonly #egress: Pick<Egress, 'request'>;

  constructor(egress: Pick<Egress, 'request'>) {
    this.#egress = egress;
  }

  /**
   * @param jobId letters, digits and dashes alone
   * @throws EgressError, or Error where the answer says nothing of this job
   */
  async read({ name, options }: Source, jobId: string, signal: AbortSignal): Promise<JobStatus> {
    const url = (options.status_url ?? defaultStatusUrl).replace(/\{id\}|%7Bid%7D/, encodeURIComponent(jobId));
    const answer = await this.#egress.request({
      owner: 'webhook',
      share: `source ${name}`,
      url,
      // The operator did, but for the id.
      writtenBy: 'operator',
      headers: { 'x-api-key': options.api_key ?? '', accept: 'application/json' },
      timeoutMs: statusReadMs,
      responseBytesMax: statusBytesMax,
      signal,
    });
    if (answer.status !== 200) throw new Error(`The sender answered ${answer.status} when it was asked of the job.`);
    const content = parseJson(answer.body);
    const status = textAt(content, '/response/status');
    if (textAt(content, '/response/id') !== jobId || status === null)
      throw new Error('The sender answered of something else than the job.');
    return {
      id: jobId,
      status,
      url: textAt(content, '/response/url') ?? '',
      error: textAt(content, '/response/error') ?? '',
    };
  }
}
