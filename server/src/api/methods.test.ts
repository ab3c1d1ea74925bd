import { readdir } from 'node:fs/promises';
import { create, createFileRegistry, type DescService, setExtension } from '@bufbuild/protobuf';
import { FileDescriptorSetSchema, MethodOptionsSchema } from '@bufbuild/protobuf/wkt';
import { createConnectRouter } from '@connectrpc/connect';
import { describe, expect, test } from 'vitest';
import { createLogger } from '../base/log.ts';
import { Access, access, scope } from '../gen/portcullis/v1/options_pb.ts';
import { isScope } from '../identity/scopes.ts';
import { Refusals } from './errors.ts';
import { methodRule, methodTable, services } from './methods.ts';
import { serviceRegistrar } from './routes.ts';

/** A service as a schema would have it, with one method and what is declared of it. */
function serviceWith(declared: { access?: Access; scope?: string }): DescService {
  const options = create(MethodOptionsSchema);
  if (declared.access !== undefined) setExtension(options, access, declared.access);
  if (declared.scope !== undefined) setExtension(options, scope, declared.scope);
  const method = { name: 'Do', inputType: '.test.Message', outputType: '.test.Message', options };
  const file = {
    name: 'test.proto',
    package: 'test',
    syntax: 'proto3',
    messageType: [{ name: 'Message' }],
    service: [{ name: 'TestService', method: [method] }],
  };
  const service = createFileRegistry(create(FileDescriptorSetSchema, { file: [file] })).getService('test.TestService');
  if (!service) throw new Error('not built');
  return service;
}

describe('a method', () => {
  test.each([
    ['nothing', {}, /declares no access class/],
    ['no access class', { scope: 'keys:read' }, /declares no access class/],
    ['an unspecified one', { access: Access.UNSPECIFIED, scope: 'keys:read' }, /declares no access class/],
    ['no scope', { access: Access.WRITE }, /declares no scope/],
    [
      'a scope that does not exist',
      { access: Access.PRIVATE_READ, scope: 'keys:reed' },
      /declares no scope that exists \("keys:reed"\)/,
    ],
    ['a scope for what is public', { access: Access.PUBLIC_READ, scope: 'keys:read' }, /cannot declare a scope/],
  ])('that declares %s is not registered', (_what, declared, message) => {
    const service = serviceWith(declared);
    const router = createConnectRouter();
    const log = createLogger('silent');
    const register = serviceRegistrar(router, new Refusals(log, { note: () => undefined } as never), []);
    expect(() => register(service, {})).toThrow(message);
    expect(router.handlers).toEqual([]);
  });

  test('that declares both is registered, and a public read needs no scope', () => {
    const rule = (declared: Parameters<typeof serviceWith>[0]) => methodRule(serviceWith(declared).methods[0]!);
    expect(rule({ access: Access.WRITE, scope: 'keys:write' })).toEqual({ access: 'write', scope: 'keys:write' });
    expect(rule({ access: Access.PRIVATE_READ, scope: 'authenticated' })).toEqual({
      access: 'private_read',
      scope: 'authenticated',
    });
    expect(rule({ access: Access.PUBLIC_READ })).toEqual({ access: 'public_read', scope: null });
  });
});

describe('the contract', () => {
  test('declares access and scope of every method, and one method is public', () => {
    const table = methodTable();
    expect(table.length).toBe(services.flatMap((service) => service.methods).length);
    const open = table.filter((row) => row.scope !== 'authenticated' && !isScope(row.scope ?? ''));
    expect(open.map(({ access: declared, method }) => [declared, method])).toEqual([
      ['public_read', 'GetPublicLeaderboard'],
    ]);
    expect(table.filter((row) => row.scope === 'authenticated').map((row) => row.method)).toEqual([
      // One's own.
      'ListSessions',
      'EndSession',
      'ListLogins',
      'EndLogin',
      'GetSelf',
    ]);
  });

  test('lets no read scope write, and asks no read for a write scope', () => {
    const odd = methodTable().filter(({ access: declared, scope: needed }) =>
      (needed ?? '').endsWith(declared === 'write' ? ':read' : ':write'),
    );
    expect(odd).toEqual([]);
  });

  test('has every service of the schema registered', async () => {
    const folder = new URL('../gen/portcullis/v1/', import.meta.url);
    const found: string[] = [];
    for (const file of await readdir(folder)) {
      const exported = (await import(new URL(file, folder).href)) as Record<
        string,
        { kind?: string; typeName?: string }
      >;
      for (const value of Object.values(exported)) if (value.kind === 'service') found.push(value.typeName ?? '');
    }
    expect(found.toSorted()).toEqual(services.map(({ typeName }) => typeName).toSorted());
  });
});
