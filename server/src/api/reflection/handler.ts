import { type DescFile, createRegistry, toBinary } from '@bufbuild/protobuf';
import { FileDescriptorProtoSchema } from '@bufbuild/protobuf/wkt';
import { Code, ConnectError, createConnectRouter } from '@connectrpc/connect';
import type { UniversalHandler } from '@connectrpc/connect/protocol';
import { probeBytesMax, reflectionQuestionsMax } from '../../base/limits.ts';
import { ServerReflection } from '../../gen/grpc/reflection/v1/reflection_pb.ts';
import { ServerReflection as ServerReflectionAlpha } from '../../gen/grpc/reflection/v1alpha/reflection_pb.ts';
import { services } from '../methods.ts';

/** A question, of either version. */
type Question =
  | { readonly case: 'listServices' | 'fileByFilename' | 'fileContainingSymbol'; readonly value: string }
  | { readonly case: 'allExtensionNumbersOfType'; readonly value: string }
  | {
      readonly case: 'fileContainingExtension';
      readonly value: { readonly containingType: string; readonly extensionNumber: number };
    }
  | { readonly case: undefined };

type Answer =
  | { case: 'listServicesResponse'; value: { service: { name: string }[] } }
  | { case: 'fileDescriptorResponse'; value: { fileDescriptorProto: Uint8Array[] } }
  | { case: 'allExtensionNumbersResponse'; value: { baseTypeName: string; extensionNumber: number[] } }
  | { case: 'errorResponse'; value: { errorCode: number; errorMessage: string } };

/**
 * The gRPC reflection protocol, under both of its names: our services and what their files import, and nothing else.
 * Only for ENABLE_REFLECTION.
 */
export function reflectionHandlers(): readonly UniversalHandler[] {
  const files = [...filesOf(services.map(({ file }) => file))];
  async function* serverReflectionInfo<T extends { host: string; messageRequest: Question }>(
    requests: AsyncIterable<T>,
  ) {
    for await (const originalRequest of bounded(requests)) {
      const { host: validHost, messageRequest } = originalRequest;
      yield { validHost, originalRequest, messageResponse: answer(files, messageRequest) };
    }
  }
  const bounds = { readMaxBytes: probeBytesMax };
  return createConnectRouter()
    .service(ServerReflection, { serverReflectionInfo }, bounds)
    .service(ServerReflectionAlpha, { serverReflectionInfo }, bounds).handlers;
}

async function* bounded<T>(requests: AsyncIterable<T>): AsyncGenerator<T> {
  let left = reflectionQuestionsMax;
  for await (const request of requests) {
    if (left-- === 0) throw new ConnectError('Ask the rest on another stream.', Code.ResourceExhausted);
    yield request;
  }
}

function answer(files: readonly DescFile[], question: Question): Answer {
  switch (question.case) {
    case 'listServices':
      return {
        case: 'listServicesResponse',
        value: { service: services.map(({ typeName }) => ({ name: typeName })) },
      };
    case 'fileByFilename':
      return fileAnswer(files.find(({ proto }) => proto.name === question.value));
    case 'fileContainingSymbol':
      return fileAnswer(files.find((file) => symbolsOf(file).has(question.value)));
    case 'fileContainingExtension': {
      const { containingType, extensionNumber } = question.value;
      return fileAnswer(
        files.find(({ extensions }) =>
          extensions.some(({ extendee, number }) => extendee.typeName === containingType && number === extensionNumber),
        ),
      );
    }
    case 'allExtensionNumbersOfType': {
      const extensions = files
        .flatMap((file) => file.extensions)
        .filter(({ extendee }) => extendee.typeName === question.value);
      const extensionNumber = extensions.map(({ number }) => number);
      return { case: 'allExtensionNumbersResponse', value: { baseTypeName: question.value, extensionNumber } };
    }
    default:
      return refused(Code.InvalidArgument, 'The question is none that this server knows.');
  }
}

/** A file with all that it imports. */
function fileAnswer(file: DescFile | undefined): Answer {
  if (!file) return refused(Code.NotFound, 'There is no such thing here.');
  const fileDescriptorProto = [...filesOf([file])].map(({ proto }) => toBinary(FileDescriptorProtoSchema, proto));
  return { case: 'fileDescriptorResponse', value: { fileDescriptorProto } };
}

function refused(errorCode: Code, errorMessage: string): Answer {
  return { case: 'errorResponse', value: { errorCode, errorMessage } };
}

function filesOf(roots: readonly DescFile[], found = new Set<DescFile>()): Set<DescFile> {
  for (const file of roots) {
    if (found.has(file)) continue;
    found.add(file);
    filesOf(file.dependencies, found);
  }
  return found;
}

/** The full names of what a file declares, those of methods and fields among them. */
function symbolsOf(file: DescFile): Set<string> {
  const names = new Set<string>();
  for (const desc of createRegistry(file)) {
    names.add(desc.typeName);
    const members = desc.kind === 'service' ? desc.methods : desc.kind === 'message' ? desc.fields : [];
    for (const { name } of members) names.add(`${desc.typeName}.${name}`);
  }
  return names;
}
