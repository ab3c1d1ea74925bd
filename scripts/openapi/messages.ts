import {
  type DescEnum,
  type DescField,
  type DescMessage,
  type DescOneof,
  ScalarType,
  getOption,
  hasOption,
} from '@bufbuild/protobuf';
import { type FieldRules, field as fieldRules } from '../../server/src/gen/buf/validate/validate_pb.ts';
import { type Schema, reference } from './schema.ts';

/** Messages that JSON writes in a form of its own (protobuf.dev, "ProtoJSON Format"). */
const wellKnown: Readonly<Record<string, Schema>> = {
  'google.protobuf.Timestamp': { type: 'string', format: 'date-time' },
  'google.protobuf.Duration': { type: 'string', pattern: '^-?[0-9]+(\\.[0-9]+)?s$' },
  'google.protobuf.FieldMask': { type: 'string' },
  'google.protobuf.Struct': { type: 'object' },
  'google.protobuf.Value': {},
};

const integer64: Schema = { type: 'string', format: 'int64', pattern: '^-?[0-9]+$' };
const integer32: Schema = { type: 'integer', format: 'int32' };

const scalars: Readonly<Partial<Record<ScalarType, Schema>>> = {
  [ScalarType.STRING]: { type: 'string' },
  [ScalarType.BOOL]: { type: 'boolean' },
  [ScalarType.BYTES]: { type: 'string', format: 'byte' },
  [ScalarType.DOUBLE]: { type: 'number', format: 'double' },
  [ScalarType.FLOAT]: { type: 'number', format: 'float' },
  [ScalarType.INT32]: integer32,
  [ScalarType.UINT32]: integer32,
  [ScalarType.INT64]: integer64,
  [ScalarType.UINT64]: integer64,
};

/** Makes the schemas of messages, with the rules that `proto/` has beside their fields. */
export class MessageSchemas {
  readonly schemas = new Map<string, Schema>();
  readonly #comments: ReadonlyMap<string, string>;

  /** @param comments what is said of each message, enum and field, by full name */
  constructor(comments: ReadonlyMap<string, string>) {
    this.#comments = comments;
  }

  /** The schema of a message: a reference to one that it adds to the document, unless JSON has a form of its own for it. */
  of(message: DescMessage): Schema {
    const own = wellKnown[message.typeName];
    if (own) return own;
    if (!this.schemas.has(message.typeName)) {
      // Before its fields: a message may hold itself.
      this.schemas.set(message.typeName, {});
      this.schemas.set(message.typeName, this.#message(message));
    }
    return reference(message.typeName);
  }

  #message(message: DescMessage): Schema {
    const required = message.fields
      .filter((field) => rulesOf(field)?.required === true)
      .map(({ jsonName }) => jsonName);
    return {
      ...this.#described(message.typeName),
      type: 'object',
      properties: Object.fromEntries(message.fields.map((field) => [field.jsonName, this.#field(field)])),
      ...(required.length > 0 && { required }),
      additionalProperties: false,
    };
  }

  #field(field: DescField): Schema {
    const { description } = this.#described(`${field.parent.typeName}.${field.name}`);
    const told = [description, field.oneof && choice(field.oneof)].filter((part) => part !== undefined).join(' ');
    return { ...this.#value(field), ...(told !== '' && { description: told }) };
  }

  #value(field: DescField): Schema {
    const rules = rulesOf(field);
    switch (field.fieldKind) {
      case 'list': {
        const list = rules?.type.case === 'repeated' ? rules.type.value : undefined;
        const element = field.listKind === 'message' ? this.of(field.message) : this.#single(field);
        return {
          type: 'array',
          items: { ...element, ...bounds(list?.items) },
          ...(list?.minItems !== undefined && { minItems: Number(list.minItems) }),
          ...(list?.maxItems !== undefined && { maxItems: Number(list.maxItems) }),
        };
      }
      case 'map':
        return {
          type: 'object',
          additionalProperties: field.mapKind === 'message' ? this.of(field.message) : this.#single(field),
        };
      case 'message':
        return this.of(field.message);
      default:
        return { ...this.#single(field), ...bounds(rules) };
    }
  }

  #single(field: {
    readonly name: string;
    readonly enum?: DescEnum | undefined;
    readonly scalar?: ScalarType | undefined;
  }): Schema {
    if (field.enum) return this.#enum(field.enum);
    const schema = field.scalar === undefined ? undefined : scalars[field.scalar];
    if (!schema) throw new Error(`The field ${field.name} is of a type without a schema: add it to scripts/openapi.`);
    return schema;
  }

  #enum(desc: DescEnum): Schema {
    if (!this.schemas.has(desc.typeName)) {
      this.schemas.set(desc.typeName, {
        ...this.#described(desc.typeName),
        type: 'string',
        enum: desc.values.map(({ name }) => name),
      });
    }
    return reference(desc.typeName);
  }

  #described(name: string): Pick<Schema, 'description'> {
    const description = this.#comments.get(name);
    return description === undefined || description === '' ? {} : { description };
  }
}

function rulesOf(field: DescField): FieldRules | undefined {
  return hasOption(field, fieldRules) ? getOption(field, fieldRules) : undefined;
}

function choice({ name, fields }: DescOneof): string | undefined {
  return fields.length < 2 ? undefined : `At most one of the fields of "${name}" may be set.`;
}

/** The rules of a value that a schema can say; an enum's are said by its names. */
function bounds(rules: FieldRules | undefined): Schema {
  if (rules?.type.case === 'string') {
    const { minLen, maxLen, pattern } = rules.type.value;
    return {
      ...(minLen !== undefined && { minLength: Number(minLen) }),
      ...(maxLen !== undefined && { maxLength: Number(maxLen) }),
      ...(pattern !== undefined && { pattern }),
    };
  }
  if (rules?.type.case === 'int32' || rules?.type.case === 'double') {
    const { gte, lte } = rules.type.value;
    return { ...(gte !== undefined && { minimum: gte }), ...(lte !== undefined && { maximum: lte }) };
  }
  return {};
}
