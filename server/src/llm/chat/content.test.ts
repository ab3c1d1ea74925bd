import { describe, expect, test } from 'vitest';
import { fullCapabilities } from '../capabilities.ts';
import type { ContentBlock } from '../conversation.ts';
import { Losses } from '../losses.ts';
import { refusalOf } from '../testing/refusal.ts';
import { parseRequest, writeRequest } from './request.ts';

const base64 = (text: string) => Buffer.from(text).toString('base64');

function parse(content: unknown, message: object = {}, lossy: 'refuse' | 'allow' = 'refuse') {
  const losses = new Losses(lossy);
  const messages = [{ role: 'user', content, ...message }];
  return { blocks: parseRequest({ model: 'm', messages }, losses).turns[0]?.blocks, dropped: losses.names };
}

function write(blocks: readonly ContentBlock[], lossy: 'refuse' | 'allow' = 'refuse') {
  const losses = new Losses(lossy);
  const empty = parseRequest({ model: 'm', messages: [{ role: 'user', content: 'x' }] }, losses);
  const conversation = { ...empty, turns: [{ role: 'user', blocks } as const] };
  const body = writeRequest(conversation, { model: 'm', capabilities: fullCapabilities, lossy }, losses);
  return JSON.parse(body).messages[0].content;
}

describe('an image', () => {
  const png = { type: 'image_url', image_url: { url: 'data:image/png;base64,AAAA', detail: 'low' } };
  const web = { type: 'image_url', image_url: { url: 'https://x.test/a.png' } };

  test('is read from what it holds, or from where it is (case 17)', () => {
    expect(parse([png, web]).blocks).toEqual([
      { type: 'image', source: { kind: 'base64', mediaType: 'image/png', data: 'AAAA' }, detail: 'low' },
      { type: 'image', source: { kind: 'url', url: 'https://x.test/a.png' }, detail: null },
    ]);
  });

  test('is written as it was read', () => {
    const { blocks } = parse([png, web, { type: 'text', text: 'What is it?' }]);
    expect(write(blocks as ContentBlock[])).toEqual([png, web, { type: 'text', text: 'What is it?' }]);
  });

  test.each(['x', 'file:///etc/passwd', 'data:image/png,AAAA', 'data:image/png;base64', 'ftp://x.test/a.png'])(
    'is refused by its place for the address %s',
    (url) => {
      expect(refusalOf(() => parse([{ type: 'image_url', image_url: { url } }], {}, 'allow')).members.param).toBe(
        'messages[0].content[0].image_url.url',
      );
    },
  );

  test('cannot stand in a system prompt', () => {
    expect(refusalOf(() => parse([png], { role: 'system' })).members.param).toBe('messages[0].content');
  });
});

describe('a file', () => {
  const file = (members: object) => ({ type: 'file', file: members });
  const pdf = file({ filename: 'a.pdf', file_data: 'data:application/pdf;base64,AAAA' });

  test('is read and written as a document, plain text as text', () => {
    const plain = file({ filename: 'a.txt', file_data: `data:text/plain;charset=utf-8;base64,${base64('häh')}` });
    const { blocks } = parse([pdf, plain]);
    expect(blocks).toEqual([
      {
        type: 'document',
        source: { kind: 'base64', mediaType: 'application/pdf', data: 'AAAA' },
        title: 'a.pdf',
      },
      { type: 'document', source: { kind: 'text', text: 'häh' }, title: 'a.txt' },
    ]);
    expect(write(blocks as ContentBlock[])).toEqual([
      pdf,
      file({ filename: 'a.txt', file_data: `data:text/plain;base64,${base64('häh')}` }),
    ]);
  });

  test('of text that is no UTF-8 stays the bytes that it is', () => {
    expect(parse([file({ filename: 'a', file_data: 'data:text/plain;base64,/w==' })]).blocks).toMatchObject([
      { source: { kind: 'base64', mediaType: 'text/plain', data: '/w==' } },
    ]);
  });

  test('gets a name where it has none, since OpenAI wants one', () => {
    const source = { kind: 'base64', mediaType: 'application/pdf', data: 'AAAA' } as const;
    expect(write([{ type: 'document', source, title: null }])).toMatchObject([{ file: { filename: 'document.pdf' } }]);
  });

  test('that is given by its address is read, and cannot be written', () => {
    const { blocks } = parse([file({ filename: 'a.pdf', file_data: 'https://x.test/a.pdf' })]);
    expect(blocks).toMatchObject([{ source: { kind: 'url', url: 'https://x.test/a.pdf' } }]);
    expect(refusalOf(() => write(blocks as ContentBlock[])).members.param).toBe('document');
    expect(write([...(blocks as ContentBlock[]), { type: 'text', text: 'x' }], 'allow')).toEqual([
      { type: 'text', text: 'x' },
    ]);
  });
});

describe('a cache mark', () => {
  const usual = { cache: { lifetime: 'usual' } };
  const long = { cache: { lifetime: 'long' } };

  test.each([
    [{ prompt_cache_breakpoint: { mode: 'explicit' } }, usual],
    [{ prompt_cache_breakpoint: { mode: 'explicit', ttl: '30m' } }, usual],
    [{ prompt_cache_breakpoint: { mode: 'explicit', ttl: '12h' } }, long],
    [{ cache_control: { type: 'ephemeral' } }, usual],
    [{ cache_control: { type: 'ephemeral', ttl: '1h' } }, long],
    [{ prompt_cache_breakpoint: { mode: 'explicit' }, cache_control: { type: 'ephemeral', ttl: '1h' } }, long],
  ])('is read from %j', (mark, cache) => {
    expect(parse([{ type: 'text', text: 'x', ...mark }]).blocks).toEqual([{ type: 'text', text: 'x', ...cache }]);
    expect(parse('x', mark).blocks).toEqual([{ type: 'text', text: 'x', ...cache }]);
  });

  test('for a time that nobody knows is one for the usual time, and says so', () => {
    const mark = { prompt_cache_breakpoint: { mode: 'explicit', ttl: '7d' } };
    expect(parse([{ type: 'text', text: 'x', ...mark }])).toEqual({
      blocks: [{ type: 'text', text: 'x', ...usual }],
      dropped: ['messages.content.prompt_cache_breakpoint.ttl'],
    });
  });

  test('is written as OpenAI’s own', () => {
    const { blocks } = parse([
      { type: 'text', text: 'a', cache_control: { type: 'ephemeral' } },
      { type: 'text', text: 'b', cache_control: { type: 'ephemeral', ttl: '1h' } },
    ]);
    expect(write(blocks as ContentBlock[])).toEqual([
      { type: 'text', text: 'a', prompt_cache_breakpoint: { mode: 'explicit' } },
      { type: 'text', text: 'b', prompt_cache_breakpoint: { mode: 'explicit', ttl: '12h' } },
    ]);
  });

  test('of a kind that nobody knows is refused by its place', () => {
    const mark = { prompt_cache_breakpoint: { mode: 'explicit', scope: 'world' } };
    expect(refusalOf(() => parse([{ type: 'text', text: 'x', ...mark }])).members.param).toBe(
      'messages[0].content[0].prompt_cache_breakpoint.scope',
    );
  });
});
