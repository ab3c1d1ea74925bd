import { PortcullisError } from '../base/errors.ts';
import { otherModelsMax } from '../base/limits.ts';
import { requireModelName } from './body-fields.ts';
import type { JsonObject } from './conversation.ts';
import type { ByteRange } from './json-scan.ts';
import { isJsonObject } from './object-reader.ts';
import type { Term } from './terms.ts';

/** A tool that the provider runs itself: each use has a fee, and its results are prompt to be paid for again. */
export interface ServerTool {
  readonly type: string;
  /** Null where the request sets no bound. */
  readonly maxUses: number | null;
}

/** What the model is shown that is not text of the body. */
export interface Media {
  /** Of any source: what bounds an image's tokens is the provider's maximum for one, not its bytes. */
  readonly images: number;
  /** Documents that are in the body as base64 (PDF, say). Plain text ones are text. */
  readonly documents: number;
  /** How many bytes of the body are base64 of images and documents: the others bound the tokens of its text. */
  readonly inlineBytes: number;
}

/**
 * What the gate must know of a request to authorize it and to bound its cost, read without translating it. Whatever else
 * the body says is between client and provider.
 */
export interface RequestFacts {
  readonly model: string;
  /** Where the model's name stands in the body, quotes included. */
  readonly modelRange: ByteRange;
  /** Other models that the provider may call for this request (fallbacks, an advisor): to be authorized as `model` is. */
  readonly otherModels: readonly string[];
  readonly stream: boolean;
  /** Null where the provider's own maximum for the model applies. */
  readonly maxOutputTokens: number | null;
  /** Those of them that the request sets apart for thinking: the provider demands a larger limit. */
  readonly thinkingTokens: number;
  /** Answers asked for, each up to `maxOutputTokens`. */
  readonly choices: number;
  /** The client asked for usage in a chat stream; Anthropic streams always have it. */
  readonly usageRequested: boolean;
  readonly bodyBytes: number;
  readonly messageCount: number;
  readonly toolCount: number;
  /** Those of the tools whose definitions the provider adds to the prompt, so that no byte of the body bounds them. */
  readonly builtInTools: number;
  readonly media: Media;
  readonly serverTools: readonly ServerTool[];
  /** Names the fields whose cost neither the body nor the price of `model` bounds; some, if there are very many. */
  readonly unbounded: readonly string[];
  /** The terms of service that it asks for; whatever it does not say is as the account is set. */
  readonly terms: readonly Term[];
  /** Cache entries may be written at a lifetime that is dearer than the usual one. */
  readonly longCacheTtl: boolean;
  /** The model may generate tokens that are paid for and not shown, so that the bytes of an answer do not bound them. */
  readonly mayReason: boolean;
}

const unboundedMax = 20;

/** Collects what makes a request cost more than its text. */
export class CostFacts {
  readonly serverTools: ServerTool[] = [];
  readonly otherModels: string[] = [];
  readonly unbounded: string[] = [];
  builtInTools = 0;
  readonly media = { images: 0, documents: 0, inlineBytes: 0 };

  /** `field` can cost without bound. */
  addUnbounded(field: string): void {
    if (this.unbounded.length < unboundedMax) this.unbounded.push(field);
  }

  /** @throws PortcullisError invalid_argument, naming `field`, for what is no model's name, and for one model too many: each is authorized by itself */
  addOtherModel(model: unknown, field: string): void {
    if (typeof model !== 'string') return;
    if (this.otherModels.length === otherModelsMax) {
      throw new PortcullisError(
        'invalid_argument',
        `A request may name ${otherModelsMax} other models at most, and "${field}" names one more.`,
        { param: field },
      );
    }
    requireModelName(model, field);
    this.otherModels.push(model);
  }

  /** `inline` is the image as text of the body, if it is there. */
  addImage(inline: unknown): void {
    this.media.images++;
    if (typeof inline === 'string') this.media.inlineBytes += inline.length;
  }

  addDocument(base64: string): void {
    this.media.documents++;
    this.media.inlineBytes += base64.length;
  }
}

/** Visits the objects of a list, each with its path; anything else is for the provider to refuse. */
export function eachObject(list: unknown, path: string, visit: (object: JsonObject, path: string) => void): void {
  if (!Array.isArray(list)) return;
  for (const [i, item] of list.entries()) if (isJsonObject(item)) visit(item, `${path}[${i}]`);
}
