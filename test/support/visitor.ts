import { type IncomingMessage, request as send } from 'node:http';
import { text } from 'node:stream/consumers';
import { fromNewAddress } from './doors.ts';

export interface Visit {
  readonly url: string;
  readonly status: number;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  readonly text: string;
}

/** Somebody with a browser that has no engine: it keeps cookies by origin, follows redirects, and sends an Origin with forms. */
export class Visitor {
  readonly cookies = new Map<string, Map<string, string>>();
  /** Everybody sits somewhere else, as far as a gate behind a trusted proxy knows. */
  readonly #address = fromNewAddress();

  async get(url: string, headers: Readonly<Record<string, string>> = {}): Promise<Visit> {
    return this.#follow('GET', url, headers);
  }

  /** Sends a form as a page of the same origin would, unless `headers` say otherwise (an empty one is left out). */
  async post(
    url: string,
    form: Readonly<Record<string, string>>,
    headers: Readonly<Record<string, string>> = {},
  ): Promise<Visit> {
    const type = { 'content-type': 'application/x-www-form-urlencoded', origin: new URL(url).origin };
    return this.#follow('POST', url, { ...type, ...headers }, new URLSearchParams(form).toString());
  }

  /** One request, its answer as it is. */
  async once(method: string, url: string, headers: Readonly<Record<string, string>>, body?: string): Promise<Visit> {
    const { origin } = new URL(url);
    const jar = this.cookies.get(origin) ?? new Map<string, string>();
    this.cookies.set(origin, jar);
    const cookie = [...jar].map(([name, value]) => `${name}=${value}`).join('; ');
    const given = Object.entries({ ...this.#address, ...(cookie === '' ? {} : { cookie }), ...headers }).filter(
      ([, value]) => value !== '',
    );
    const asked = send(url, { method, headers: Object.fromEntries(given) });
    asked.end(body);
    const response = await new Promise<IncomingMessage>((resolve, reject) => {
      asked.once('response', resolve).once('error', reject);
    });
    for (const line of response.headers['set-cookie'] ?? []) {
      const [pair = '', ...attributes] = line.split(';');
      const at = pair.indexOf('=');
      const ended = attributes.some((attribute) => /^\s*(max-age=0|expires=thu, 01 jan 1970)/i.test(attribute));
      if (ended) jar.delete(pair.slice(0, at));
      else jar.set(pair.slice(0, at), pair.slice(at + 1));
    }
    return { url, status: response.statusCode ?? 0, headers: response.headers, text: await text(response) };
  }

  async #follow(method: string, url: string, headers: Readonly<Record<string, string>>, body?: string): Promise<Visit> {
    let visit = await this.once(method, url, headers, body);
    for (let hops = 0; hops < 10 && [302, 303].includes(visit.status); hops++) {
      visit = await this.once('GET', new URL(String(visit.headers['location']), visit.url).href, {});
    }
    return visit;
  }
}

/** The value of a hidden field on a page. */
export function fieldOf({ text: page }: Visit, name: string): string {
  return new RegExp(`name="${name}"\\s+value="([^"]*)"`).exec(page)?.[1] ?? '';
}

/** What a page says in its alert; null where it has none. */
export function alertOf({ text: page }: Visit): string | null {
  const sentence = /role="alert">\s*<p>([^<]*)<\/p>/.exec(page)?.[1];
  return sentence === undefined
    ? null
    : sentence.replaceAll('&#39;', "'").replaceAll('&quot;', '"').replaceAll('&amp;', '&');
}
