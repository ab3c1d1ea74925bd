import { spawnSync } from 'node:child_process';
import { fromBinary } from '@bufbuild/protobuf';
import {
  type DescriptorProto,
  type FileDescriptorProto,
  FileDescriptorSetSchema,
  type SourceCodeInfo_Location,
} from '@bufbuild/protobuf/wkt';

/**
 * What `proto/` says of each message, field, enum and method, by full name (fields and methods after a dot). The generated
 * code keeps comments for editors alone, so they are read from the compiler.
 * @throws Error when buf does not build
 */
export function protoComments(): ReadonlyMap<string, string> {
  const { status, stdout, stderr } = spawnSync('buf', ['build', '--output', '-'], { maxBuffer: 64 * 1024 * 1024 });
  if (status !== 0) throw new Error(`buf build failed: ${stderr.toString()}`);
  const found = new Map<string, string>();
  for (const file of fromBinary(FileDescriptorSetSchema, stdout).file) {
    const told = comments(file.sourceCodeInfo?.location ?? []);
    for (const [path, name] of names(file)) {
      const comment = told.get(path);
      if (comment !== undefined) found.set(name, comment);
    }
  }
  return found;
}

function comments(locations: readonly SourceCodeInfo_Location[]): Map<string, string> {
  return new Map(
    locations.map(({ path, leadingComments }) => [path.join('.'), leadingComments.replaceAll(/\s+/g, ' ').trim()]),
  );
}

/** Each named thing of a file by its path in the descriptor (descriptor.proto, SourceCodeInfo). */
function* names(file: FileDescriptorProto): Generator<readonly [path: string, name: string]> {
  for (const [at, message] of file.messageType.entries()) yield* messageNames(`4.${at}`, file.package, message);
  for (const [at, { name }] of file.enumType.entries()) yield [`5.${at}`, `${file.package}.${name}`];
  for (const [at, service] of file.service.entries()) {
    const name = `${file.package}.${service.name}`;
    yield [`6.${at}`, name];
    for (const [position, method] of service.method.entries())
      yield [`6.${at}.2.${position}`, `${name}.${method.name}`];
  }
}

function* messageNames(path: string, parent: string, message: DescriptorProto): Generator<readonly [string, string]> {
  const name = `${parent}.${message.name}`;
  yield [path, name];
  for (const [at, field] of message.field.entries()) yield [`${path}.2.${at}`, `${name}.${field.name}`];
  for (const [at, nested] of message.nestedType.entries()) yield* messageNames(`${path}.3.${at}`, name, nested);
  for (const [at, nested] of message.enumType.entries()) yield [`${path}.4.${at}`, `${name}.${nested.name}`];
}
