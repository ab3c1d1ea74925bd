import { mkdir, writeFile } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import { Command } from 'commander';
import { methodTable } from '../api/methods.ts';
import { auditActions } from '../audit/actions.ts';
import { errorCodes } from '../base/errors.ts';
import { createMetrics } from '../base/metrics.ts';
import { type OptionName, optionAliases, options, unreadNames } from '../config/options.ts';
import type { CliContext } from './context.ts';

/** One generated file, by its path from the root of the repository. */
export interface Page {
  readonly path: string;
  readonly text: string;
}

/** Every page that is made from source; `npm run check` fails when one on disk differs. */
export async function referencePages(): Promise<Page[]> {
  return [
    { path: 'docs/reference/config.md', text: configPage() },
    { path: 'docs/reference/errors.md', text: errorsPage() },
    { path: 'docs/reference/metrics.md', text: await metricsPage() },
    { path: 'docs/reference/audit.md', text: auditPage() },
    { path: 'docs/reference/methods.md', text: methodsPage() },
    { path: '.env.example', text: envExample() },
  ];
}

const root = resolve(import.meta.dirname, '../../..');

export function docsCommand(context: CliContext): Command {
  return new Command('docs')
    .description('write the generated reference pages into the working copy')
    .action(async () => {
      for (const { path, text } of await referencePages()) {
        await mkdir(dirname(join(root, path)), { recursive: true });
        await writeFile(join(root, path), text);
        context.stdout.write(`${path}\n`);
      }
    });
}

const generated = '<!-- Generated from source by `npm run gen`. Do not edit. -->';

function page(title: string, intro: string, ...blocks: string[]): string {
  return `${[generated, `# ${title}`, intro, ...blocks].join('\n\n')}\n`;
}

function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]) =>
    `| ${cells.map((cell) => cell.replaceAll('|', '\\|').replaceAll('\n', ' ')).join(' | ')} |`;
  return [line(head), line(head.map(() => '---')), ...rows.map(line)].join('\n');
}

function optionEntries(): [OptionName, (typeof options)[OptionName]][] {
  return Object.entries(options) as [OptionName, (typeof options)[OptionName]][];
}

function configPage(): string {
  const groups = [...new Set(optionEntries().map(([, { group }]) => group))];
  const blocks = groups.flatMap((group) => [
    `## ${group}`,
    table(
      ['name', 'default', 'meaning'],
      optionEntries()
        .filter(([, option]) => option.group === group)
        .map(([name, { fallback, doc, secret }]) => [
          secret ? `\`${name}\`, \`${name}_FILE\`` : `\`${name}\``,
          fallback === null || fallback === '' ? '' : `\`${fallback}\``,
          doc,
        ]),
    ),
  ]);
  return page(
    'Configuration',
    'Read from the environment, from `./.env` outside production, and for secrets also from the file that `NAME_FILE` names. What is wrong is listed at start, all of it at once; `portcullis config check` says the same.',
    ...blocks,
    '## Other names',
    table(
      ['name', 'meaning'],
      [
        ...Object.entries(optionAliases).map(([alias, { name }]) => [`\`${alias}\``, `Read as \`${name}\`.`]),
        ...Object.entries(unreadNames).map(([name, note]) => [`\`${name}\``, `Not read: ${note}.`]),
      ],
    ),
  );
}

function errorsPage(): string {
  return page(
    'Errors',
    'Codes are stable and never reused. A final one carries `x-should-retry: false`: trying again by itself cannot help. Each door answers in the shape of its own protocol; the code is in `code` (control API), the status is the same everywhere.',
    table(
      ['code', 'status', 'final', 'meaning'],
      Object.entries(errorCodes).map(([code, { status, final, doc }]) => [
        `\`${code}\``,
        String(status),
        final ? 'yes' : 'no',
        doc,
      ]),
    ),
  );
}

async function metricsPage(): Promise<string> {
  const metrics = await createMetrics().registry.getMetricsAsJSON();
  const ours = metrics.filter(({ name }) => !name.startsWith('process_') && !name.startsWith('nodejs_'));
  return page(
    'Metrics',
    'Served at `/metrics` to credentials with `metrics:read` and to `METRICS_API_KEY`; besides these there are the defaults of Node (`process_*`, `nodejs_*`).',
    table(
      ['name', 'type', 'meaning'],
      ours.map(({ name, type, help }) => [`\`${name}\``, String(type), help]),
    ),
  );
}

function auditPage(): string {
  return page(
    'Audit actions',
    'What an entry of the audit log can say. Entries are written in the transaction of the change that they record.',
    table(
      ['action', 'meaning'],
      Object.entries(auditActions).map(([action, doc]) => [`\`${action}\``, doc]),
    ),
  );
}

function methodsPage(): string {
  return page(
    'Control API',
    'Connect JSON on `HTTP_ADDR`: `POST /portcullis.v1.<Service>/<Method>`. Access class and scope are options in `proto/`, read by the one authorization layer.',
    table(
      ['method', 'access', 'scope'],
      methodTable().map(({ service, method, access, scope }) => [
        `\`${service}/${method}\``,
        access,
        scope === null ? '' : `\`${scope}\``,
      ]),
    ),
  );
}

function envExample(): string {
  const lines = [
    '# Every option, with its default. Generated from source by `npm run gen`; copy to .env and uncomment what you need.',
    '',
  ];
  for (const [name, { fallback, doc }] of optionEntries()) lines.push(`# ${doc}`, `# ${name}=${fallback ?? ''}`, '');
  return `${lines.join('\n').trimEnd()}\n`;
}
