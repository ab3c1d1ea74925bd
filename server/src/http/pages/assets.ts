import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { FastifyInstance } from 'fastify';
import { render, sendRendering } from './rendering.ts';

// What pages load. A page names a file with the digest of its content, so that a browser keeps it for good and still
// never mixes a page of one version with a file of another.

const sheetNames = ['tokens', 'base', 'forms', 'account', 'landing', 'board'];
const sheets = sheetNames.map((name) => readFileSync(join(import.meta.dirname, 'sheets', `${name}.css`), 'utf8'));
const icon = readFileSync(join(import.meta.dirname, 'icon.svg'), 'utf8');

const files = {
  '/style.css': render('text/css; charset=utf-8', sheets.join('\n')),
  '/icon.svg': render('image/svg+xml', icon),
};

export const stylesheetUrl = versioned('/style.css');
export const iconUrl = versioned('/icon.svg');

/** Serves what pages load. */
export function registerAssets(app: FastifyInstance): void {
  for (const [path, file] of Object.entries(files)) {
    app.get(path, (request, reply) => {
      // Another process may have made the page: what it meant is not here.
      const isMeant = request.url === path + versionOf(file);
      return sendRendering(request, reply, file, `public, max-age=${isMeant ? '31536000, immutable' : '60'}`);
    });
  }
}

function versioned(path: keyof typeof files): string {
  return path + versionOf(files[path]);
}

function versionOf({ etag }: { readonly etag: string }): string {
  return `?v=${etag.slice(1, -1)}`;
}
