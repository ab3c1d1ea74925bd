import { create, type DescMessage, type Message } from '@bufbuild/protobuf';
import { type Path, pathToString } from '@bufbuild/protobuf/reflect';
import { createValidator, type Validator, type Violation } from '@bufbuild/protovalidate';
import type { Interceptor } from '@connectrpc/connect';
import { type FieldViolation, PortcullisError } from '../base/errors.ts';
import { violationsToldMax } from '../base/limits.ts';

/** Checks requests against the rules that the schema has beside their fields (proto/buf/validate). */
export class Validation {
  readonly #validator: Validator = createValidator();

  /**
   * Compiles the rules of a message, which is done once.
   * @throws Error for a rule that does not hold
   */
  compile(schema: DescMessage): void {
    const { error, kind } = this.#validator.validate(schema, create(schema));
    if (kind === 'error') throw error;
  }

  /** Before each handler: it sees no request that breaks a rule. */
  readonly interceptor: Interceptor = (next) => async (request) => {
    const { input } = request.method;
    if (!request.stream) {
      this.#check(input, request.message);
      return next(request);
    }
    return next({ ...request, message: this.#checkEach(input, request.message) });
  };

  async *#checkEach<T extends Message>(schema: DescMessage, messages: AsyncIterable<T>): AsyncGenerator<T> {
    for await (const message of messages) {
      this.#check(schema, message);
      yield message;
    }
  }

  /** @throws PortcullisError invalid_argument, with each violation; `param` is the first */
  #check(schema: DescMessage, message: Message): void {
    const { kind, error, violations } = this.#validator.validate(schema, message);
    if (kind === 'valid') return;
    if (kind === 'error') throw error;
    const told = violations.slice(0, violationsToldMax).map(fieldViolation);
    throw new PortcullisError('invalid_argument', told.map(({ description }) => description).join(' '), {
      ...(told[0] && { param: told[0].field }),
      violations: told,
    });
  }
}

function fieldViolation({ field, ruleId, message }: Violation): FieldViolation {
  const name = pathToString(field);
  const names = ruleId.startsWith('enum.') ? enumNames(field) : [];
  const must = names.length > 0 ? `must be one of ${names.join(', ')}` : inWords(message);
  return { field: name, description: `${name} ${must}.` };
}

/** The validator's own words begin with the value, or go on after it. */
function inWords(message: string): string {
  return message === 'must be at least 1 characters' ? 'must not be empty' : message.replace(/^value /, '');
}

/** What may stand in a field, by name; its zero is what was not stated. */
function enumNames(path: Path): readonly string[] {
  const field = path.findLast((part) => part.kind === 'field');
  return field?.enum?.values.filter(({ number }) => number !== 0).map(({ name }) => name) ?? [];
}
