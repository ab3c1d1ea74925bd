import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { type JsonSchema, fileJsonSchema } from './config-file-schema.ts';
import { page, table } from './markdown.ts';

const intro = `Providers, models and token issuers: what is written once per installation. The file is \`CONFIG_FILE\` (\`./portcullis.yaml\`); without one there is the simulated model \`sim\` alone. It is read at start, when it changes, and on SIGHUP; one that does not hold changes nothing, and the log says why. Unknown keys are errors. \`portcullis config check\` lists all that is wrong, with lines; \`portcullis add\` and \`portcullis import litellm\` write it.`;

const references = `\`\${NAME}\` in a value is replaced by that variable of the environment (or of \`.env\`, outside production), and \`\${file:PATH}\` by what is in that file, without white space at its ends. What is not set is a problem: nothing has a default. Names of providers and models are taken as they are.`;

const editors = `\`portcullis.schema.json\` beside this page lets an editor complete, explain and check the file. With the YAML language server (VS Code, Neovim and others) the first line of the example does it; its path is from the file to the schema. \`portcullis add\` and \`portcullis import\` write that line when they make the file within the repository.`;

/** The file on the page; it has every field. */
export function exampleFile(): string {
  return readFileSync(join(import.meta.dirname, 'portcullis.example.yaml'), 'utf8');
}

/** `docs/reference/portcullis-yaml.md`, from the descriptions in the schema. */
export function configFilePage(): string {
  const schema = fileJsonSchema();
  return page(
    'portcullis.yaml',
    intro,
    `\`\`\`yaml\n${exampleFile()}\`\`\``,
    `## References\n\n${references}`,
    `## Editors\n\n${editors}`,
    `## Sections\n\n${fieldTable(schema, schema)}`,
    ...Object.values(schema.definitions ?? {}).map(
      (part) => `## ${part.title ?? ''}\n\n${part.description ?? ''}\n\n${fieldTable(part, schema)}`,
    ),
  );
}

function fieldTable(part: JsonSchema, schema: JsonSchema): string {
  // A price may be a word or an object, which alone has fields.
  const object = part.anyOf?.find(({ properties }) => properties !== undefined) ?? part;
  if (object.properties === undefined) return `One of: ${valuesOf(part, schema)}.`;
  const rows = Object.entries(object.properties).map(([field, value]) => [
    `\`${field}\``,
    valuesOf(value, schema),
    object.required?.includes(field) ? 'required' : defaultOf(value),
    value.description ?? '',
  ]);
  return table(['field', 'values', 'default', 'meaning'], rows);
}

function defaultOf({ default: value }: JsonSchema): string {
  return value === undefined || Array.isArray(value) ? '' : `\`${JSON.stringify(value).replaceAll('"', '')}\``;
}

/** What may be written, in words. */
function valuesOf(part: JsonSchema, schema: JsonSchema): string {
  const reference = part.$ref ?? part.allOf?.[0]?.$ref;
  if (reference !== undefined) return linkTo(schema.definitions?.[reference.split('/').at(-1) ?? '']?.title ?? '');
  if (part.const !== undefined) return `\`${part.const}\``;
  if (part.enum) return part.enum.map((value) => `\`${value}\``).join(', ');
  if (part.anyOf) return part.anyOf.map((each) => valuesOf(each, schema)).join(' or ');
  if (part.items) return `list of ${valuesOf(part.items, schema)}`;
  if (part.additionalProperties) return `names, each with a ${valuesOf(part.additionalProperties, schema)}`;
  if (part.type === 'boolean') return '`true`, `false`';
  if (part.type === 'integer') return `whole number, ${String(part.minimum)} to ${String(part.maximum)}`;
  if (part.type === 'number') return 'number';
  return part.format === 'uri' ? 'URL' : 'text';
}

function linkTo(title: string): string {
  return `[${title}](#${title.toLowerCase().replaceAll(' ', '-')})`;
}
