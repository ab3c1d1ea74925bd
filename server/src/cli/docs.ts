import { mkdir, writeFile } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import { Command } from 'commander';
import { methodTable } from '../api/methods.ts';
import { publicRoutes } from '../api/public-routes.ts';
import { auditActions } from '../audit/actions.ts';
import { errorCodes } from '../base/errors.ts';
import { createMetrics } from '../base/metrics.ts';
import type { CliContext } from './context.ts';
import { configFilePage } from './docs/config-file-page.ts';
import { editorSchema } from './docs/config-file-schema.ts';
import { page, table } from './docs/markdown.ts';
import { envExample, optionsPage } from './docs/options-page.ts';

/** One generated file, by its path from the root of the repository. */
export interface Page {
  readonly path: string;
  readonly text: string;
}

/** Every page that is made from source; `npm run check` fails when one on disk differs. */
export async function referencePages(): Promise<Page[]> {
  return [
    { path: 'docs/reference/config.md', text: optionsPage() },
    { path: 'docs/reference/portcullis-yaml.md', text: configFilePage() },
    { path: 'docs/reference/portcullis.schema.json', text: `${JSON.stringify(editorSchema(), null, 2)}\n` },
    { path: 'docs/reference/errors.md', text: errorsPage() },
    { path: 'docs/reference/metrics.md', text: await metricsPage() },
    { path: 'docs/reference/audit.md', text: auditPage() },
    { path: 'docs/reference/methods.md', text: methodsPage() },
    { path: 'docs/reference/public-routes.md', text: publicRoutesPage() },
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
    'gRPC on `GRPC_ADDR` and `MTLS_ADDR`; Connect (JSON or binary) and gRPC-Web on every listener, by POST. Access class and scope are options in `proto/`, read by the one authorization layer. A write happens once under an `Idempotency-Key`.',
    table(
      ['service', 'method', 'access', 'scope', 'HTTP path', 'repeatable'],
      methodTable().map(({ service, method, access, scope, path }) => [
        service,
        method,
        access,
        scope === null ? '' : `\`${scope}\``,
        `\`${path}\``,
        access === 'write' ? 'by its key' : 'yes',
      ]),
    ),
  );
}

function publicRoutesPage(): string {
  return page(
    'Routes without a credential',
    'Everything that answers whoever asks. A test knocks at every route of every listener and finds no other.',
    table(
      ['route', 'why'],
      publicRoutes.map(({ method, path, why }) => [`\`${method} ${path}\``, why]),
    ),
  );
}
