import { setTimeout as sleep } from 'node:timers/promises';
import { Agent, type Dispatcher, request } from 'undici';
import { billDocumentBytesMax, billDocumentsMax } from '../../base/limits.ts';
import { isLoopback } from '../../config/production.ts';
import { guardedLookup, isPrivateHost } from '../../net/egress.ts';
import { parseExactJson } from '../../reconciliation/exact-json.ts';
import { CliError } from '../context.ts';
import { exitCodes } from '../exit-codes.ts';
import type { Report, Vendor } from './vendor-reports.ts';

const triesMax = 6;
const waitMsMax = 60_000;
const answerMs = 60_000;

/** A page of a report as it came, and what it is called in messages. */
export interface FetchedPage {
  readonly at: string;
  readonly page: unknown;
}

/** The admin API of a vendor: pages of reports, asked for again when the vendor is busy. No redirects. */
export class VendorApi {
  readonly #vendor: Vendor;
  readonly #base: string;
  readonly #key: string;
  readonly #dispatcher: Dispatcher;
  readonly #say: (line: string) => void;

  /**
   * @param baseUrl stands for the vendor's own; it may be on this machine
   * @param say tells of waits
   * @throws CliError when the key would cross a network in the clear
   */
  constructor(vendor: Vendor, baseUrl: string | undefined, key: string, say: (line: string) => void) {
    this.#vendor = vendor;
    this.#base = checkBase(baseUrl ?? vendor.baseUrl);
    this.#key = key;
    this.#say = say;
    // An address that the operator wrote down may be private; a name may not turn out to be.
    const guarded = !isPrivateHost(new URL(this.#base).hostname);
    this.#dispatcher = new Agent({ connect: { timeout: answerMs, ...(guarded && { lookup: guardedLookup }) } });
  }

  /**
   * The pages of a report, until `nextOf` finds no cursor.
   * @throws CliError when the vendor refuses, does not answer, or sends more than is read
   */
  async *pages({ path, query }: Report): AsyncGenerator<FetchedPage, void, string | null> {
    const cursors = new Set<string>();
    for (let cursor: string | null = ''; cursor !== null;) {
      const url = new URL(this.#base + path);
      for (const [name, value] of query) url.searchParams.append(name, value);
      if (cursor !== '') url.searchParams.append('page', cursor);
      const at = `${path}, page ${cursors.size + 1}`;
      cursors.add(cursor);
      cursor = yield { at, page: parseExactJson(at, await this.#get(url, at)) };
      if (cursor !== null && (cursors.has(cursor) || cursors.size >= billDocumentsMax)) {
        throw new CliError(`${at}: the vendor's pages do not end: ask for fewer days.`);
      }
    }
  }

  close(): Promise<void> {
    return this.#dispatcher.close();
  }

  async #get(url: URL, at: string): Promise<string> {
    for (let tries = 1; ; tries++) {
      const answer = await this.#ask(url, at);
      if (answer.statusCode === 200) return await readText(answer, at);
      await answer.body.dump();
      const busy = answer.statusCode === 429 || answer.statusCode >= 500;
      if (!busy || tries === triesMax) throw this.#refused(answer.statusCode, at);
      const waitMs = waitFor(answer.headers['retry-after'], tries);
      if (waitMs > waitMsMax) {
        throw new CliError(`${at}: ${this.#vendor.name} asks to wait ${Math.ceil(waitMs / 1000)} s: try again then.`);
      }
      this.#say(`${this.#vendor.name} is busy (${answer.statusCode}): waiting ${Math.ceil(waitMs / 1000)} s.`);
      await sleep(waitMs);
    }
  }

  async #ask(url: URL, at: string): Promise<Dispatcher.ResponseData> {
    try {
      return await request(url, {
        dispatcher: this.#dispatcher,
        headers: { accept: 'application/json', ...this.#vendor.headers(this.#key) },
        headersTimeout: answerMs,
        bodyTimeout: answerMs,
      });
    } catch (error) {
      const why = error instanceof Error && 'code' in error ? String(error.code) : 'no answer';
      throw new CliError(`${at}: ${url.origin} cannot be reached (${why}).`, exitCodes.unreachable);
    }
  }

  #refused(status: number, at: string): CliError {
    const { name } = this.#vendor;
    if (status === 401 || status === 403) {
      return new CliError(
        `${at}: ${name} refused the key (${status}): it takes an admin key of the organization.`,
        exitCodes.denied,
      );
    }
    return new CliError(`${at}: ${name} answered with status ${status}.`);
  }
}

async function readText({ headers, body }: Dispatcher.ResponseData, at: string): Promise<string> {
  const tooLong = () =>
    new CliError(`${at}: the answer is larger than ${billDocumentBytesMax} bytes: ask for fewer days.`);
  if (Number(headers['content-length'] ?? 0) > billDocumentBytesMax) {
    body.destroy();
    throw tooLong();
  }
  const chunks: Buffer[] = [];
  let size = 0;
  try {
    for await (const chunk of body as AsyncIterable<Buffer>) {
      size += chunk.length;
      if (size > billDocumentBytesMax) throw tooLong();
      chunks.push(chunk);
    }
  } catch (error) {
    if (error instanceof CliError) throw error;
    throw new CliError(`${at}: the answer broke off.`);
  }
  return Buffer.concat(chunks).toString();
}

/** Milliseconds by Retry-After (RFC 9110, 10.2.3: seconds or a date), else a second, doubled with every try. */
function waitFor(retryAfter: string | string[] | undefined, tries: number): number {
  const text = Array.isArray(retryAfter) ? (retryAfter[0] ?? '') : (retryAfter ?? '');
  if (/^\d{1,9}$/.test(text)) return Number(text) * 1000;
  const until = Date.parse(text);
  return Number.isNaN(until) ? 1000 * 2 ** (tries - 1) : Math.max(until - Date.now(), 0);
}

function checkBase(text: string): string {
  const url = URL.parse(text);
  const clear = url?.protocol === 'http:' && isLoopback(url.hostname);
  if (url === null || url.search !== '' || url.username !== '' || (url.protocol !== 'https:' && !clear)) {
    throw new CliError('--base-url must begin with https:// (or http:// on this machine).', exitCodes.usage);
  }
  return url.href.replace(/\/+$/, '');
}
