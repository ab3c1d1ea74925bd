import type { SchemeName, Scheme, SourceOptions } from './model.ts';
import { hmacScheme, signedParts } from './schemes/hmac.ts';
import { standardWebhooks } from './schemes/standard.ts';
import { github, kieai, shopify, slack, stripe, uploadPost } from './schemes/vendors.ts';

/** Who may send webhooks, ready to verify them. */
export interface Source {
  readonly name: string;
  readonly options: SourceOptions;
  /** Null where the sender cannot sign, and comes by a path of its own. */
  readonly scheme: Scheme | null;
}

/** The sources in force, which change with the configuration file. */
export class Sources {
  #byName: ReadonlyMap<string, Source> = new Map();

  /** @throws PortcullisError invalid_argument for a key that is none; what was in force stays */
  replace(sources: Readonly<Record<string, SourceOptions>>): void {
    this.#byName = new Map(Object.entries(sources).map(([name, options]) => [name, sourceOf(name, options)]));
  }

  get(name: string): Source | undefined {
    return this.#byName.get(name);
  }
}

/** @throws PortcullisError invalid_argument */
export function sourceOf(name: string, options: SourceOptions): Source {
  return { name, options, scheme: schemes[options.scheme](options) };
}

const schemes: Readonly<Record<SchemeName, (options: SourceOptions) => Scheme | null>> = {
  github,
  stripe,
  slack,
  shopify,
  kieai,
  'standard-webhooks': standardWebhooks,
  'upload-post': uploadPost,
  hmac: generic,
  shotstack: () => null,
};

function generic(options: SourceOptions): Scheme {
  return hmacScheme({
    secrets: options.secrets,
    algorithm: options.algorithm,
    encoding: options.encoding,
    signatureHeader: options.signature_header ?? '',
    prefix: options.signature_prefix,
    timestampHeader: options.timestamp_header ?? null,
    idHeader: options.id_header ?? null,
    toleranceS: options.tolerance_s,
    parts: signedParts(options.signed),
  });
}
