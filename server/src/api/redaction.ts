import { type DescField, type DescMessage, type MessageShape, clone } from '@bufbuild/protobuf';
import { type ReflectMessage, reflect } from '@bufbuild/protobuf/reflect';

/** A copy of a message without what its schema marks as secret (`debug_redact`), however deep it lies. */
export function withoutSecrets<T extends DescMessage>(schema: T, message: MessageShape<T>): MessageShape<T> {
  const copy = clone(schema, message);
  clearSecrets(reflect(schema, copy));
  return copy;
}

function clearSecrets(message: ReflectMessage): void {
  for (const field of message.fields) {
    if (!message.isSet(field)) continue;
    if (field.proto.options?.debugRedact === true) message.clear(field);
    else for (const inner of messagesIn(message, field)) clearSecrets(inner);
  }
}

function messagesIn(message: ReflectMessage, field: DescField): Iterable<ReflectMessage> {
  if (field.fieldKind === 'message') return [message.get(field)];
  if (field.fieldKind === 'list' && field.listKind === 'message') return message.get(field) as Iterable<ReflectMessage>;
  if (field.fieldKind === 'map' && field.mapKind === 'message') {
    return message.get(field).values() as Iterable<ReflectMessage>;
  }
  return [];
}
