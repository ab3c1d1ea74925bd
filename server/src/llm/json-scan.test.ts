import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { PortcullisError } from '../base/errors.ts';
import { jsonDepthMax, jsonMembersMax, jsonNameBytesMax } from '../base/limits.ts';
import { editBody, readBoolean, readNumber, readString, scanObject } from './json-scan.ts';

const scan = (body: Buffer | string) => scanObject(Buffer.from(body), { depthMax: jsonDepthMax });

/** The code and sentence with which the body is refused, or `accepted`. */
function verdict(body: Buffer | string): string {
  try {
    scan(body);
    return 'accepted';
  } catch (error) {
    return error instanceof PortcullisError ? `${error.code}: ${error.message}` : String(error);
  }
}

/** Bodies that two JSON parsers in the field read differently, or that one accepts and another does not. */
const differentials: readonly (readonly [string, Buffer | string, RegExp])[] = [
  ['a model named twice', '{"model":"cheap","model":"dear"}', /"model" stands twice.*byte 18/],
  ['a model named twice, once escaped', String.raw`{"model":"a","mod\u0065l":"b"}`, /"model" stands twice/],
  ['a model named twice, escaped first', String.raw`{"\u006dodel":"a","model":"b"}`, /"model" needs no escapes/],
  ['two escapes of one name', String.raw`{"\u002Fa":"a","\/a":"b"}`, /"\/a" stands twice/],
  ['an escaped solidus in a name', String.raw`{"a/b":1,"a\/b":2}`, /"a\/b" stands twice/],
  ['a surrogate pair, raw and escaped', String.raw`{"😀":1,"\ud83d\ude00":2}`, /stands twice/],
  ['the empty name twice', '{"":1,"":2}', /"" stands twice/],
  ['__proto__ twice', '{"__proto__":1,"__proto__":2}', /"__proto__" stands twice/],
  ['a block type named twice', '{"messages":[{"type":"text","type":"image"}]}', /"type" stands twice/],
  ['a long name twice', `{"${'n'.repeat(99)}":1,"a":2,"${'n'.repeat(99)}":3}`, /"n{64}" stands twice/],
  ['a name that is too long', `{"${'n'.repeat(jsonNameBytesMax + 1)}":1}`, /1024 bytes at most.*byte 2/],
  ['a duplicate after forty names', `{${names(40)},"n7":1}`, /"n7" stands twice/],
  ['a duplicate that is escaped after forty', String.raw`{${names(40)},"\u006e7":1}`, /"n7" stands twice/],
  ['a byte order mark', '\uFEFF{"model":"a"}', /byte order mark.*byte 0/],
  ['UTF-16', Buffer.from('{"model":"a"}', 'utf16le'), /object is expected|member name/],
  ['UTF-16 with its mark', Buffer.from('\uFEFF{"model":"a"}', 'utf16le'), /not UTF-8.*byte 0/],
  ['an overlong quote', bytes('{"model":"a', 0xc0, 0xa2, '"}'), /not UTF-8.*byte 11/],
  ['a surrogate encoded in UTF-8', bytes('{"model":"', 0xed, 0xa0, 0x80, '"}'), /not UTF-8.*byte 10/],
  ['a character cut at the end', bytes('{"model":"a', 0xe2, 0x82, '"}'), /not UTF-8/],
  ['a code point beyond Unicode', bytes('{"a":"', 0xf4, 0x90, 0x80, 0x80, '"}'), /not UTF-8/],
  ['a name with an escape that it does not need', String.raw`{"mod\u0065l":"b"}`, /"model" needs no escapes.*byte 2/],
  ['a nested name with one', String.raw`{"a":[{"typ\u0065":"image"}]}`, /"type" needs no escapes/],
  ['a lone surrogate in a name', String.raw`{"a\ud800":1}`, /lone surrogate/],
  ['swapped surrogates in a name', String.raw`{"\ude00\ud83d":1}`, /lone surrogate/],
  ['a second object', '{"model":"a"}{"model":"b"}', /nothing may follow.*byte 13/],
  ['a null byte after the object', '{"model":"a"}\0', /nothing may follow/],
  ['a comment', '{"model":"a"/*,"model":"b"*/}', /comma or the end/],
  ['a line comment', '{//\n"model":"a"}', /member name/],
  ['single quotes', "{'model':'a'}", /member name/],
  ['a bare name', '{model:"a"}', /member name/],
  ['a comma before the end', '{"model":"a",}', /member name/],
  ['a comma before the end of an array', '{"a":[1,]}', /value is expected/],
  ['an elided element', '{"a":[1,,2]}', /value is expected/],
  ['NaN', '{"n":NaN}', /value is expected/],
  ['Infinity', '{"n":-Infinity}', /not complete/],
  ['a leading zero', '{"n":01}', /comma or the end/],
  ['a plus sign', '{"n":+1}', /value is expected/],
  ['a hexadecimal number', '{"n":0x10}', /comma or the end/],
  ['no digit before the point', '{"n":.5}', /value is expected/],
  ['no digit after the point', '{"n":1.}', /not complete/],
  ['no digit in the exponent', '{"n":1e}', /not complete/],
  ['True', '{"stream":True}', /value is expected/],
  ['a raw line break in a string', '{"a":"\n"}', /control character.*byte 6/],
  ['a raw null byte in a string', '{"a":"\0"}', /control character/],
  ['an escape of JavaScript', String.raw`{"a":"\x41"}`, /no such escape/],
  ['an escaped single quote', String.raw`{"a":"\'"}`, /no such escape/],
  ['a braced escape', String.raw`{"a":"\u{41}"}`, /four hexadecimal/],
  ['a short escape', String.raw`{"a":"\u004"}`, /four hexadecimal/],
  ['a no-break space between tokens', '{\u00a0"model":"a"}', /member name/],
  ['a form feed between tokens', '{\f"model":"a"}', /member name/],
  ['an array', '[{"model":"a"}]', /object is expected/],
  ['a string', '"model"', /object is expected/],
  ['nothing', '', /object is expected, but the body ends/],
  ['white space', ' \n', /but the body ends/],
  ['an object with no end', '{"model":"a"', /but the body ends/],
  ['a string with no end', '{"model":"a', /no end, but the body ends/],
  ['a string that ends in a backslash', '{"model":"a\\', /no such escape/],
  ['65 levels', `${'{"a":'.repeat(65)}1${'}'.repeat(65)}`, /64 deep/],
  ['65 levels of arrays', `{"a":${'['.repeat(64)}${']'.repeat(64)}}`, /64 deep/],
  ['too many members', `{${names(jsonMembersMax + 1)}}`, /10000 members/],
];

describe('what parsers read differently', () => {
  it.each(differentials)('%s is refused', (_name, body, reason) => {
    expect(verdict(body)).toMatch(/^invalid_argument: /);
    expect(verdict(body)).toMatch(reason);
  });

  it.each([
    ['long names that share their start', `{"${'n'.repeat(jsonNameBytesMax)}":1,"${'n'.repeat(99)}":1}`],
    ['names that differ in case', '{"model":"a","Model":"b"}'],
    ['one name in two objects', '{"a":{"x":1},"b":{"x":1},"x":1}'],
    ['64 levels', `${'{"a":'.repeat(64)}1${'}'.repeat(64)}`],
    ['the most members', `{${names(jsonMembersMax)}}`],
    ['white space everywhere', ' \t\r\n{ "a" : [ 1 , { } , [ ] ] , "b" : null } \n'],
    ['a number beyond the doubles', '{"n":1e999}'],
    ['a lone surrogate in a value', String.raw`{"a":"\ud800"}`],
    ['a name with escapes as writers make them', String.raw`{"caf\u00e9":1,"a\u0026b":2,"\"":3}`],
    ['a delete character', '{"a":"\u007f"}'],
  ])('%s is accepted', (_name, body) => {
    expect(verdict(body)).toBe('accepted');
  });
});

describe('what the scan reports', () => {
  it('gives each member its unescaped name, its kind, its bytes and its count', () => {
    const text = String.raw`{"model":"aé","n":-1.5e2,"t":true,"f":false,"z":null,"a":[1,[2,3],4],"o":{"x":{},"y":[]}, "\u00e9/":[]}`;
    const body = Buffer.from(text);
    const { members } = scan(body);
    expect([...members.keys()]).toEqual(['model', 'n', 't', 'f', 'z', 'a', 'o', 'é/']);
    const value = (name: string) => body.toString('utf8', members.get(name)!.start, members.get(name)!.end);
    expect(value('model')).toBe('"aé"');
    expect(readString(body, members.get('model')!)).toBe('aé');
    expect(readNumber(body, members.get('n')!)).toBe(-150);
    expect(readBoolean(body, members.get('t')!)).toBe(true);
    expect(readBoolean(body, members.get('f')!)).toBe(false);
    expect([...members.values()].map(({ kind }) => kind)).toEqual([
      'string',
      'number',
      'boolean',
      'boolean',
      'null',
      'array',
      'object',
      'array',
    ]);
    expect([...members.values()].map(({ count }) => count)).toEqual([0, 0, 0, 0, 0, 3, 2, 0]);
  });

  it('reports the distinct strings of a watched name at every depth, however they are escaped', () => {
    const body = String.raw`{"type":"a","x":[{"type":"b"},{"type":"c"},{"type":"\u0064"},{"type":"a"},{"type":["e"]}],"y":{"ttl":"1h"}}`;
    const { sightings } = scan(body);
    expect([...sightings.keys()]).toEqual(['type', 'ttl']);
    expect(sightings.get('type')).toMatchObject({ complete: true });
    expect([...sightings.get('type')!.values].toSorted()).toEqual(['a', 'b', 'c', 'd']);
    expect(sightings.get('ttl')!.values).toEqual(new Set(['1h']));
  });

  it('says when it kept not all the strings of a watched name', () => {
    expect(scan(`{"type":"${'x'.repeat(65)}"}`).sightings.get('type')).toMatchObject({ complete: false });
    const many = Array.from({ length: 100 }, (_, i) => `{"type":"t${i}"}`).join();
    expect(scan(`{"a":[${many}]}`).sightings.get('type')).toMatchObject({ complete: false });
  });

  it('refuses to read a string that is not text', () => {
    const body = Buffer.from(String.raw`{"model":"a\ud800"}`);
    expect(() => readString(body, scan(body).members.get('model')!)).toThrow('lone surrogate');
  });
});

describe('edits', () => {
  it('replace the bytes of a range and leave every other byte as it was', () => {
    const body = Buffer.from('{ "model" : "chéap",\n"n":1 }');
    const edit = { ...scan(body).members.get('model')!, json: '"dear"' };
    expect(editBody(body, [edit]).toString()).toBe('{ "model" : "dear",\n"n":1 }');
  });

  it('are made together, whatever their order', () => {
    const body = Buffer.from('{"model":"a","n":1}');
    const { members } = scan(body);
    const edits = [
      { start: 18, end: 18, json: ',"x":true' },
      { ...members.get('model')!, json: '"longer"' },
    ];
    expect(editBody(body, edits).toString()).toBe('{"model":"longer","n":1,"x":true}');
  });
});

describe('beside JSON.parse', () => {
  const json = fc.dictionary(key(), fc.jsonValue({ maxDepth: 5 }), { maxKeys: 6 });

  it('accepts all that JSON.stringify writes, and finds the same members', () => {
    fc.assert(
      fc.property(json, fc.nat(3), (object, indent) => {
        const body = Buffer.from(JSON.stringify(object, null, indent));
        expect(membersOf(body)).toEqual(oracle(body));
      }),
      { numRuns: 500 },
    );
  });

  it('agrees on damaged bodies', () => {
    const fragments = Array.from('"\\{}[],:0-9eE+.ud8 tfn/\n\t\0\u007f');
    fragments.push('\\u', '\\ud800', '"a":1', ',"a":1', 'true', 'null', '\uFEFF');
    const fragment = fc.oneof(
      fc.constantFrom(...fragments).map((text) => Buffer.from(text)),
      fc.constantFrom(0x80, 0xc3, 0xed, 0xff).map((byte) => Buffer.of(byte)),
    );
    const damage = fc.record({ at: fc.nat(10_000), drop: fc.nat(3), put: fragment });
    fc.assert(
      fc.property(json, fc.array(damage, { minLength: 1, maxLength: 3 }), (object, damages) => {
        let body = Buffer.from(JSON.stringify(object));
        for (const { at, drop, put } of damages) {
          const from = at % (body.length + 1);
          body = Buffer.concat([body.subarray(0, from), put, body.subarray(from + drop)]);
        }
        expect(membersOf(body)).toEqual(oracle(body));
      }),
      { numRuns: 5_000 },
    );
  });

  it('reads a body at every alignment of its memory', () => {
    const text = `{"model":"${'x'.repeat(37)}\\n${'é'.repeat(5)}","a":{"b":"${'y'.repeat(9)}"}}`;
    for (let offset = 0; offset < 8; offset++) {
      const memory = Buffer.alloc(offset + Buffer.byteLength(text) + 3, '"');
      memory.write(text, offset);
      const body = memory.subarray(offset, offset + Buffer.byteLength(text));
      expect(membersOf(body)).toEqual(oracle(body));
    }
  });
});

/** What a scan finds, or null where it refuses. */
type Members =
  | { readonly name: string; readonly source: string; readonly kind: string; readonly count: number }[]
  | null;

function membersOf(body: Buffer): Members {
  if (verdict(body) !== 'accepted') return null;
  return [...scanObject(body, { depthMax: jsonDepthMax }).members].map(([name, { start, end, kind, count }]) => {
    return { name, source: tokensOf(body.toString('utf8', start, end)).join(''), kind, count };
  });
}

function key(): fc.Arbitrary<string> {
  return fc.oneof(fc.constantFrom('a', 'b', 'type', '"', '\\'), fc.string({ unit: 'grapheme', maxLength: 8 }));
}

/**
 * The members of the body, or null if it is to be refused. JSON.parse says what is JSON; the names are
 * read from the tokens, since V8 may take `"\""` for `"\\"` where an earlier text had that name.
 */
function oracle(body: Buffer): Members {
  let tokens: string[];
  try {
    const text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(body);
    JSON.parse(text);
    tokens = tokensOf(text);
  } catch {
    return null;
  }
  if (tokens[0] !== '{') return null;
  const members: [string, string][] = [];
  const open: (Set<string> | null)[] = [];
  for (const [i, token] of tokens.entries()) {
    if (token === '}' || token === ']') open.pop();
    const isName = tokens[i + 1] === ':';
    if (isName) {
      const name = JSON.parse(token) as string;
      if (open.at(-1)!.has(name) || !name.isWellFormed() || (token.includes('\\') && /^\w*$/.test(name))) return null;
      open.at(-1)!.add(name);
      if (open.length === 1) members.push([name, '']);
    }
    if (open.length > 1 || (open.length === 1 && !isName && ![':', ','].includes(token))) members.at(-1)![1] += token;
    if (token === '{' || token === '[') open.push(token === '{' ? new Set() : null);
  }
  return members.map(([name, source]) => {
    const value: unknown = JSON.parse(source);
    const kind = Array.isArray(value) ? 'array' : value === null ? 'null' : typeof value;
    return { name, source, kind, count: countOf(tokensOf(source)) };
  });
}

/** Elements or members of the value with these tokens. */
function countOf(tokens: readonly string[]): number {
  if (tokens.length < 3) return 0;
  let depth = 0;
  let commas = 0;
  for (const token of tokens) {
    if ('{['.includes(token)) depth++;
    if ('}]'.includes(token)) depth--;
    if (token === ',' && depth === 1) commas++;
  }
  return commas + 1;
}

function tokensOf(text: string): string[] {
  return text.match(/"(?:[^"\\]|\\.)*"|[{}[\],:]|[^\s{}[\],:"]+/g) ?? [];
}

function names(count: number): string {
  return Array.from({ length: count }, (_, i) => `"n${i}":0`).join();
}

function bytes(...parts: readonly (string | number)[]): Buffer {
  return Buffer.concat(parts.map((part) => (typeof part === 'string' ? Buffer.from(part) : Buffer.of(part))));
}
