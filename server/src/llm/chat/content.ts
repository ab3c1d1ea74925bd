import type { ContentBlock, DocumentBlock, ImageBlock, TextBlock } from '../conversation.ts';
import { dataUrl, documentSourceOf, sourceOf, textDataUrl } from '../data-url.ts';
import type { Losses } from '../losses.ts';
import { ObjectReader } from '../object-reader.ts';
import { parseMark, writeMark } from '../openai-content.ts';

/** A message's content: a string, or a list of parts. Empty text carries nothing and is left out. */
export function parseContent(message: ObjectReader, path: string, losses: Losses): ContentBlock[] {
  // LiteLLM's clients mark a whole message.
  const mark = parseMark(message);
  const blocks = parseParts(message, path, losses);
  return blocks.map((block, i) => (i === blocks.length - 1 ? { ...block, ...mark } : block));
}

/** The content of a message that can hold text alone. */
export function parseTexts(message: ObjectReader, path: string, losses: Losses): TextBlock[] {
  return parseContent(message, path, losses).flatMap((block) => {
    if (block.type === 'text') return [block];
    losses.drop(`${path}.content`, 'holds an image or a file, which this role cannot send');
    return [];
  });
}

function parseParts(message: ObjectReader, path: string, losses: Losses): ContentBlock[] {
  const content = message.any('content') ?? '';
  if (typeof content === 'string') return textBlocks(content);
  if (!Array.isArray(content)) throw message.malformed('content', 'a string or a list of parts');
  return content.flatMap((item, i) => parsePart(item, `${path}.content[${i}]`, losses));
}

function parsePart(json: unknown, path: string, losses: Losses): ContentBlock[] {
  const part = new ObjectReader(json, path, losses);
  const type = part.string('type');
  const blocks = parseKnown(part, type);
  if (blocks === null) {
    losses.drop(path, `is a part of type "${type}", which has no counterpart on the other side`);
    return [];
  }
  const mark = parseMark(part);
  part.close();
  return blocks.map((block) => ({ ...block, ...mark }));
}

function parseKnown(part: ObjectReader, type: string): ContentBlock[] | null {
  switch (type) {
    case 'text':
    case 'refusal': {
      const text = part.optionalString(type);
      if (text === null) throw part.malformed(type, 'a string');
      return textBlocks(text);
    }
    case 'image_url':
      return [parseImage(part)];
    case 'file':
      return [parseFile(part)];
    default:
      return null;
  }
}

export function textBlocks(text: string): TextBlock[] {
  return text === '' ? [] : [{ type: 'text', text }];
}

function parseImage(part: ObjectReader): ImageBlock {
  const image = part.child('image_url');
  if (image === null) throw part.malformed('image_url', 'a JSON object');
  const source = sourceOf(image.string('url'));
  if (source === null) throw image.malformed('url', expectedSource);
  const detail = image.optionalString('detail');
  image.close();
  return { type: 'image', source, detail };
}

function parseFile(part: ObjectReader): DocumentBlock {
  const file = part.child('file');
  if (file === null) throw part.malformed('file', 'a JSON object');
  const title = file.optionalString('filename');
  const source = documentSourceOf(file.string('file_data'));
  if (source === null) throw file.malformed('file_data', expectedSource);
  file.close();
  return { type: 'document', source, title };
}

const expectedSource = 'a "data:" URL in base64, or an "https:" URL';

/** A string for one plain text, since not every server takes a list of parts; a list keeps the bounds of several. */
export function writeContent(blocks: readonly ContentBlock[], losses: Losses): unknown {
  const [first, ...rest] = blocks;
  if (first === undefined) return '';
  if (rest.length === 0 && first.type === 'text' && first.cache === undefined) return first.text;
  return blocks.flatMap((block) => writePart(block, losses).map((part) => ({ ...part, ...writeMark(block.cache) })));
}

function writePart(block: ContentBlock, losses: Losses): object[] {
  switch (block.type) {
    case 'text':
      return [{ type: 'text', text: block.text }];
    case 'image': {
      const { source, detail } = block;
      const url = source.kind === 'url' ? source.url : dataUrl(source);
      return [{ type: 'image_url', image_url: { url, ...(detail !== null && { detail }) } }];
    }
    default:
      return writeFile(block, losses);
  }
}

function writeFile({ source, title }: DocumentBlock, losses: Losses): object[] {
  switch (source.kind) {
    case 'url':
      losses.drop('document', 'is given by its address, and the model behind this name takes its content alone');
      return [];
    case 'text':
      return [file(title ?? 'document.txt', textDataUrl(source.text))];
    default:
      return [file(title ?? 'document.pdf', dataUrl(source))];
  }
}

/** OpenAI takes no content without a name. */
function file(filename: string, data: string): object {
  return { type: 'file', file: { filename, file_data: data } };
}
