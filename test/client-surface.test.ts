import { readdirSync } from 'node:fs';
import { join, resolve } from 'node:path';
import type { DescService } from '@bufbuild/protobuf';
import { describe, expect, it } from 'vitest';
import { createPortcullis } from '../client/src/index.ts';

// Whoever adds a .proto file or a service adds it to client/src/index.ts and client/src/portcullis.ts: this says so.

const folder = resolve(import.meta.dirname, '../client/src/gen/portcullis/v1');
const files = readdirSync(folder);
const portcullis = createPortcullis({ url: 'https://gate.example.com' });
const clients = Object.values(portcullis).filter((value) => typeof value === 'object');

describe.each(files)('%s', (file) => {
  it('is whole in the package', async () => {
    const generated = (await import(join(folder, file))) as Record<string, unknown>;
    const exported = (await import('../client/src/index.ts')) as Record<string, unknown>;
    const missing = Object.entries(generated).filter(([name, value]) => exported[name] !== value);
    expect(missing.map(([name]) => name)).toEqual([]);
    const services = Object.values(generated).filter(
      (value) => typeof value === 'object' && value !== null && 'kind' in value && value.kind === 'service',
    ) as DescService[];
    for (const { typeName, methods } of services) {
      const names = methods.map(({ localName }) => localName);
      expect(
        clients.map((each) => Object.keys(each)),
        `${typeName} has a client`,
      ).toContainEqual(names);
    }
  });
});
