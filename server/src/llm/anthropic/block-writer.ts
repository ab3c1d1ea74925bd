import { PortcullisError } from '../../base/errors.ts';
import type {
  AssistantBlock,
  CacheMark,
  DocumentBlock,
  ImageBlock,
  JsonObject,
  TextBlock,
  ToolCallBlock,
  ToolResultBlock,
  Turn,
  UserBlock,
} from '../conversation.ts';
import type { Losses } from '../losses.ts';
import { describeCall, parseArguments } from '../tool-arguments.ts';
import { writeThinkingBlock } from './thinking.ts';

const imageTypes: ReadonlySet<string> = new Set(['image/jpeg', 'image/png', 'image/gif', 'image/webp']);

/** Writes `messages`. */
export function writeTurns(turns: readonly Turn[], losses: Losses): JsonObject[] {
  return turns.flatMap(({ role, blocks }) => {
    const content = writeBlocks(blocks, losses);
    if (content.length > 0) return [{ role, content }];
    losses.drop('messages', 'holds a message without content, which the model behind this name does not take');
    return [];
  });
}

/** Writes system prompts. */
export function writeTexts(blocks: readonly TextBlock[]): JsonObject[] {
  return blocks.map(writeText);
}

/** The member that marks a block for the cache; none without a mark. */
export function writeMark({ cache }: { readonly cache?: CacheMark | undefined }): {
  readonly cache_control?: JsonObject;
} {
  if (cache === undefined) return {};
  return { cache_control: { type: 'ephemeral', ...(cache.lifetime === 'long' && { ttl: '1h' }) } };
}

function writeBlocks(blocks: readonly (UserBlock | AssistantBlock)[], losses: Losses): JsonObject[] {
  return blocks.flatMap((block) => {
    const written = writeBlock(block, losses);
    return written === null ? [] : [written];
  });
}

/** Null for what stays behind. */
function writeBlock(block: UserBlock | AssistantBlock, losses: Losses): JsonObject | null {
  switch (block.type) {
    case 'text':
      return writeText(block);
    case 'image':
      return writeImage(block, losses);
    case 'document':
      return writeDocument(block, losses);
    case 'reasoning': {
      const written = writeThinkingBlock(block);
      if (written === null) losses.hint('reasoning');
      return written;
    }
    case 'tool_call':
      return writeToolUse(block);
    default:
      return writeToolResult(block, losses);
  }
}

function writeText({ text, cache }: TextBlock): JsonObject {
  return { type: 'text', text, ...writeMark({ cache }) };
}

function writeImage({ source, detail, cache }: ImageBlock, losses: Losses): JsonObject | null {
  if (detail !== null && detail !== 'auto') losses.hint('image.detail');
  if (source.kind === 'url') {
    return { type: 'image', source: { type: 'url', url: source.url }, ...writeMark({ cache }) };
  }
  if (source.kind === 'base64' && imageTypes.has(source.mediaType)) {
    const { mediaType: media_type, data } = source;
    return { type: 'image', source: { type: 'base64', media_type, data }, ...writeMark({ cache }) };
  }
  losses.drop('image', 'is neither JPEG, PNG, GIF nor WebP, and the model behind this name reads no other');
  return null;
}

function writeDocument(block: DocumentBlock, losses: Losses): JsonObject | null {
  const source = writeDocumentSource(block.source);
  if (source === null) {
    losses.drop('document', 'is neither PDF nor plain text, and the model behind this name reads no other');
    return null;
  }
  return { type: 'document', source, ...(block.title !== null && { title: block.title }), ...writeMark(block) };
}

function writeDocumentSource(source: DocumentBlock['source']): JsonObject | null {
  switch (source.kind) {
    case 'url':
      return { type: 'url', url: source.url };
    case 'text':
      return { type: 'text', media_type: 'text/plain', data: source.text };
    default: {
      const { mediaType: media_type, data } = source;
      if (media_type === 'application/pdf') return { type: 'base64', media_type, data };
      if (media_type !== 'text/plain') return null;
      return { type: 'text', media_type, data: Buffer.from(data, 'base64').toString() };
    }
  }
}

function writeToolUse(call: ToolCallBlock): JsonObject {
  const input = parseArguments(call.argumentsJson);
  if (input === null) {
    throw new PortcullisError(
      'invalid_argument',
      `The arguments of ${describeCall(call)} are not a JSON object, which the model behind this name requires.`,
      { param: 'messages' },
    );
  }
  return { type: 'tool_use', id: call.id, name: call.name, input, ...writeMark(call) };
}

function writeToolResult(block: ToolResultBlock, losses: Losses): JsonObject {
  const content = writeBlocks(block.content, losses);
  return {
    type: 'tool_result',
    tool_use_id: block.callId,
    ...(content.length > 0 && { content }),
    ...(block.isError && { is_error: true }),
    ...writeMark(block),
  };
}
