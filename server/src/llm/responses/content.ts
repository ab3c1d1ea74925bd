import type { ContentBlock, DocumentBlock, ImageBlock, TextBlock } from '../conversation.ts';
import { dataUrl, documentSourceOf, sourceOf, textDataUrl } from '../data-url.ts';
import type { Losses } from '../losses.ts';
import { ObjectReader } from '../object-reader.ts';
import { parseMark, writeMark } from '../openai-content.ts';

/** Content as a string, or as a list of parts. Empty text carries nothing and is left out. */
export function parseContent(holder: ObjectReader, name: 'content' | 'output', losses: Losses): ContentBlock[] {
  const content = holder.any(name) ?? '';
  if (typeof content === 'string') return textBlocks(content);
  if (!Array.isArray(content)) throw holder.malformed(name, 'a string or a list of parts');
  return content.flatMap((part, i) => parsePart(part, holder.path(`${name}[${i}]`), losses));
}

/** Content that can be nothing but text: of a system prompt, or of what the model said. */
export function parseText(holder: ObjectReader, losses: Losses): TextBlock[] {
  return parseContent(holder, 'content', losses).filter((block) => {
    if (block.type !== 'text') losses.drop(holder.path('content'), `holds a part of type "${block.type}"`);
    return block.type === 'text';
  });
}

function textBlocks(text: string, mark: Pick<TextBlock, 'cache'> = {}): TextBlock[] {
  return text === '' ? [] : [{ type: 'text', text, ...mark }];
}

function parsePart(json: unknown, path: string, losses: Losses): ContentBlock[] {
  const part = new ObjectReader(json, path, losses);
  const type = part.string('type');
  switch (type) {
    case 'input_text':
    case 'output_text':
    case 'refusal':
      return parseTextPart(part, type);
    case 'input_image':
      return parseImage(part);
    case 'input_file':
      return parseFile(part);
    default:
      losses.drop(path, `is a part of type "${type}", which has no counterpart on the other side`);
      return [];
  }
}

function parseTextPart(part: ObjectReader, type: 'input_text' | 'output_text' | 'refusal'): TextBlock[] {
  const name = type === 'refusal' ? 'refusal' : 'text';
  const text = part.optionalString(name);
  if (text === null) throw part.malformed(name, 'a string');
  // What the provider noted about its own words.
  part.hint('annotations');
  part.hint('logprobs');
  const blocks = textBlocks(text, parseMark(part));
  part.close();
  return blocks;
}

const expectedUrl = 'a "data:" URL in base64, or an "https:" URL';

/** Without a URL it names a stored file, and `close` let that be dropped. */
function parseImage(part: ObjectReader): ContentBlock[] {
  const url = part.optionalString('image_url');
  const detail = part.optionalString('detail');
  const mark = parseMark(part);
  part.close();
  if (url === null) return [];
  const source = sourceOf(url);
  if (source === null) throw part.malformed('image_url', expectedUrl);
  return [{ type: 'image', source, detail, ...mark }];
}

function parseFile(part: ObjectReader): ContentBlock[] {
  const data = part.optionalString('file_data');
  const url = part.optionalString('file_url');
  const title = part.optionalString('filename');
  const mark = parseMark(part);
  part.hint('detail');
  part.close();
  if (data === null && url === null) return [];
  if (data !== null && url !== null) throw part.malformed('file_url', 'left out where "file_data" is given');
  const source = documentSourceOf(data ?? url ?? '');
  if (source === null) throw part.malformed(data === null ? 'file_url' : 'file_data', expectedUrl);
  return [{ type: 'document', source, title, ...mark }];
}

/** What a person, the system, or a tool shows the model. */
export function writeInput(block: ContentBlock): unknown {
  switch (block.type) {
    case 'text':
      return { type: 'input_text', text: block.text, ...writeMark(block.cache) };
    case 'image':
      return writeImage(block);
    default:
      return writeFile(block);
  }
}

function writeImage({ source, detail, cache }: ImageBlock): unknown {
  const url = source.kind === 'url' ? source.url : dataUrl(source);
  return { type: 'input_image', ...(detail !== null && { detail }), image_url: url, ...writeMark(cache) };
}

function writeFile({ source, title, cache }: DocumentBlock): unknown {
  const file = { type: 'input_file', ...writeMark(cache) };
  if (source.kind === 'url') return { ...file, ...(title !== null && { filename: title }), file_url: source.url };
  // The name is how OpenAI tells what kind of file it is.
  if (source.kind === 'base64') return { ...file, filename: title ?? 'document.pdf', file_data: dataUrl(source) };
  return { ...file, filename: title ?? 'document.txt', file_data: textDataUrl(source.text) };
}
