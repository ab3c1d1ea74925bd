import { catalogue, eventSchema, eventTypes, type EventType } from '../../outbox/catalogue.ts';
import { exampleBody } from '../../outbox/example.ts';
import type { JsonSchema } from '../../outbox/fields.ts';
import { page, table } from './markdown.ts';

const intro =
  'What an endpoint is told of ([webhooks.md](../webhooks.md)). A body has `type`, `version`, `timestamp`, `project_id` (null for what concerns all projects) and `data`; any change of its form is another version. `webhooks.schema.json` beside this page has the JSON Schema (2020-12) of each, and `portcullis webhooks events` lists what a gate knows.';

/** `docs/reference/webhooks.md`, from the catalogue. */
export function webhooksPage(): string {
  return page(
    'Events of webhooks',
    intro,
    table(
      ['type', 'version', 'meaning'],
      eventTypes.map((type) => [
        `[\`${type}\`](#${anchorOf(type)})`,
        String(catalogue[type].version),
        catalogue[type].doc,
      ]),
    ),
    ...eventTypes.flatMap(eventBlocks),
  );
}

/** `docs/reference/webhooks.schema.json`: the schema of every body. */
export function webhooksSchema(): object {
  const schemas = eventTypes.map((type) => [type, eventSchema(type)] as const);
  return {
    $schema: 'https://json-schema.org/draft/2020-12/schema',
    title: 'Events of Portcullis',
    oneOf: eventTypes.map((type) => ({ $ref: `#/$defs/${type}` })),
    $defs: Object.fromEntries(schemas),
  };
}

function eventBlocks(type: EventType): string[] {
  const { doc } = catalogue[type];
  const fields = Object.entries(eventSchema(type).properties?.['data']?.properties ?? {});
  const rows = fields.map(([name, field]) => [`\`${name}\``, typeOf(field), field.description ?? '']);
  const example = JSON.stringify(JSON.parse(exampleBody(type)), null, 2);
  return [`## ${type}`, doc, table(['data', 'type', 'meaning'], rows), `\`\`\`json\n${example}\n\`\`\``];
}

/** As GitHub makes it of a heading. */
function anchorOf(type: EventType): string {
  return type.replaceAll('.', '');
}

function typeOf({ type, enum: words, format, items }: JsonSchema): string {
  if (words !== undefined) return words.map((word) => `\`${word ?? 'null'}\``).join(', ');
  const types = [type].flat();
  const named = types.map((name) => (name === 'array' ? `list of ${items?.type?.toString() ?? ''}` : (name ?? '')));
  return `${named.join(' or ')}${format === undefined ? '' : ` (${format})`}`;
}
