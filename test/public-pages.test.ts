import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { publicReadsPerMinute } from '../server/src/base/telemetry-limits.ts';
import { createTestDatabase, queryAsOwner, type TestDatabase } from './support/database.ts';
import { fromNewAddress, send } from './support/doors.ts';
import { startGate, type TestGate } from './support/gate.ts';
import {
  bidi,
  emptyBoard,
  entry,
  filledBoard,
  hostileBoard,
  markup,
  openPublicSite,
  type PublicSite,
} from './support/public-pages.ts';
import { type CostReader, readCosts } from './support/statement-costs.ts';

const policy =
  "default-src 'none';style-src 'self';img-src 'self';form-action 'self';frame-ancestors 'none';base-uri 'none'";

describe('the public pages, of a board', () => {
  let site: PublicSite;
  beforeAll(async () => {
    site = await openPublicSite();
  });
  afterAll(() => site?.close());

  const get = (path: string, headers: Record<string, string> = {}, method = 'GET') =>
    send(site.url, { path, method, headers: { ...fromNewAddress(), ...headers } });

  it('are the same for everybody, may be kept for half a minute, and neither framed nor scripted', async () => {
    site.show(filledBoard);
    for (const path of ['/', '/leaderboard', '/leaderboard?workflow=Triage+of+issues']) {
      const { status, headers, text } = await get(path, { cookie: 'portcullis-session=x' });
      expect([status, headers['cache-control'], headers['content-security-policy']]).toEqual([
        200,
        'public, max-age=30',
        policy,
      ]);
      expect(headers['x-frame-options']).toBe('DENY');
      expect(headers['set-cookie']).toBeUndefined();
      expect(text).not.toMatch(/<script|style=|javascript:| on\w+=/i);
      expect((await get(path)).text).toBe(text);
    }
  });

  it('have a strong ETag, which is another one as soon as they change', async () => {
    const seen = new Set<string>();
    for (const board of [filledBoard, emptyBoard, { ...filledBoard, madeAt: 1 }]) {
      site.show(board);
      const { headers } = await get('/leaderboard');
      const etag = headers.etag ?? '';
      expect(etag).toMatch(/^"[\w-]{22}"$/);
      seen.add(etag);
      for (const known of [etag, `W/${etag}`, `"other", ${etag}`, '*']) {
        const again = await get('/leaderboard', { 'if-none-match': known });
        expect([again.status, again.text, again.headers.etag]).toEqual([304, '', etag]);
        expect(again.headers['cache-control']).toBe('public, max-age=30');
      }
      for (const other of ['"other"', etag.slice(1, -1), ''])
        expect((await get('/leaderboard', { 'if-none-match': other })).status).toBe(200);
    }
    expect(seen.size).toBe(3);
  });

  it('answer HEAD as GET, without the page', async () => {
    site.show(filledBoard);
    for (const path of ['/', '/leaderboard', '/style.css', '/icon.svg']) {
      const [head, whole] = [await get(path, {}, 'HEAD'), await get(path)];
      expect([head.status, head.text]).toEqual([200, '']);
      for (const name of ['etag', 'content-length', 'content-type', 'cache-control'] as const)
        expect(head.headers[name]).toBe(whole.headers[name]);
    }
  });

  it('name what they load by its content, so that it is kept for good; under another name it is not', async () => {
    const { text } = await get('/');
    for (const [, path = ''] of text.matchAll(/href="(\/(?:style|icon)[^"]*)"/g)) {
      expect((await get(path)).headers['cache-control']).toBe('public, max-age=31536000, immutable');
      for (const other of [path.split('?')[0] ?? '', `${path}x`, `${path}&a=b`])
        expect((await get(other)).headers['cache-control']).toBe('public, max-age=60');
      const { headers } = await get(path);
      expect((await get(path, { 'if-none-match': String(headers.etag) })).status).toBe(304);
    }
  });

  it('tell what is measured, and what is not known', async () => {
    site.show(filledBoard);
    const { text } = await get('/leaderboard');
    const told = text.replaceAll(/<[^>]*>/g, ' ').replaceAll(/\s+/g, ' ');
    expect(told).toContain('1 2026-11 with tests first 0.81 89 % 95 % interval 84 to 92 % 212 $0.41');
    expect(told).toContain('3 min 4 s 12 min 11 s 4.4 0.86');
    expect(told).toContain('two reviewers not enough data 100 % 95 % interval 65 to 100 % 7');
    expect(told).toContain('Made 2026-11-23 09:30 UTC');
    expect(told).toContain('Whether a run succeeded is told by the agent that ran it.');
    expect(told).toContain('Runs that ended in the last 30 days, up to yesterday (UTC).');
    site.show(emptyBoard);
    expect((await get('/leaderboard')).text).toContain('Nothing is published yet');
  });

  it('show ten versions of each workflow where there are several, and all on its own page', async () => {
    const entries = Array.from({ length: 25 }, (_, at) => entry({ rank: at + 1, label: `v${at + 1}`, score: 0.5 }));
    const of = (title: string) => ({ title, windowDays: 30, entries });
    const rows = async (path: string) => (await get(path)).text.match(/scope="row"/g)?.length;
    site.show({ madeAt: 1, workflows: [of('a'), of('b')] });
    expect([await rows('/leaderboard'), await rows('/leaderboard?workflow=b')]).toEqual([20, 25]);
    expect((await get('/leaderboard')).text).toContain('<a href="/leaderboard?workflow=b">All 25 versions</a>');
    site.show({ madeAt: 1, workflows: [of('a')] });
    expect(await rows('/leaderboard')).toBe(25);
  });

  it('show so many versions together at most, and name every workflow', async () => {
    const entries = Array.from({ length: 100 }, (_, at) => entry({ rank: at + 1, label: 'v'.repeat(100), score: 0.5 }));
    const titles = Array.from({ length: 100 }, (_, at) => `workflow ${at}`);
    site.show({ madeAt: 1, workflows: titles.map((title) => ({ title, windowDays: 30, entries })) });
    const { text } = await get('/leaderboard');
    expect(text.match(/scope="row"/g)).toHaveLength(200);
    expect(text.match(/All 100 versions/g)).toHaveLength(100);
    expect(text).not.toContain('Not enough data: no version');
    expect(Buffer.byteLength(text)).toBeLessThan(500_000);
  });

  it('show runs that were cancelled apart from those that tell of success', async () => {
    const cancelled = entry({ label: 'v', runs: 10, cancelled: 1_990, success: { rate: 1, low: 0.72, high: 1 } });
    site.show({ madeAt: 1, workflows: [{ title: 'w', windowDays: 30, entries: [cancelled] }] });
    const told = (await get('/leaderboard')).text.replaceAll(/<[^>]*>/g, ' ').replaceAll(/\s+/g, ' ');
    expect(told).toContain('72 to 100 % 10 + 1,990 cancelled');
  });

  it('find a workflow by its exact title, whatever is in it', async () => {
    site.show(hostileBoard);
    for (const { title } of hostileBoard.workflows) {
      const { status, text } = await get(`/leaderboard?workflow=${encodeURIComponent(title)}`);
      expect([status, text.match(/class="workflow"/g)?.length]).toEqual([200, 1]);
    }
    expect((await get(`/leaderboard?workflow=${encodeURIComponent(markup)}`)).text).not.toMatch(/<script|<img/);
  });

  it.each([
    'nothing',
    'fix+a+failing+test',
    '__proto__',
    'constructor',
    encodeURIComponent(markup),
    encodeURIComponent(bidi),
    '%00',
    '%ff%fe',
    '%',
    '%ED%A0%80',
    'Triage+of+issues&workflow=Triage+of+issues',
    `x`.repeat(4000),
    "'%20OR%201=1--",
  ])('answer with a page of 404 that repeats nothing when there is no such workflow (%s)', async (query) => {
    site.show(filledBoard);
    const { status, text, headers } = await get(`/leaderboard?workflow=${query}`);
    expect([status, headers['cache-control']]).toEqual([404, 'no-store']);
    expect(text).toContain('No workflow of this title is published here.');
    expect(text).not.toMatch(/<script|<img|OR 1=1|xxxx|__proto__/);
  });

  it('lead from there to the leaderboard, and raise no alarm', async () => {
    site.show(filledBoard);
    const { text } = await get('/leaderboard?workflow=gone');
    expect(text).toContain('<a class="button" href="/leaderboard">');
    expect(text).not.toMatch(/role="alert"|did not work/);
  });

  it.each(['?', '?workflow=', '?workflow', '?other=1', '?__proto__=1', '?workflow[]=x', '?%', '?;;&&=&'])(
    'are not misled by a query of another kind (%s)',
    async (query) => {
      site.show(filledBoard);
      const { status, text } = await get(`/leaderboard${query}`);
      expect([status, text.match(/class="workflow"/g)?.length]).toEqual([200, 2]);
    },
  );

  it('are limited by address', async () => {
    site.show(filledBoard);
    const from = fromNewAddress();
    let answer = await get('/', from);
    for (let at = 0; at < 2 * publicReadsPerMinute && answer.status === 200; at++)
      answer = await get(at % 2 ? '/' : '/leaderboard?workflow=none', from).then((got) =>
        got.status === 404 ? { ...got, status: 200 } : got,
      );
    expect(answer.status).toBe(429);
    expect(Number(answer.headers['retry-after'])).toBeGreaterThan(0);
    expect(answer.text).toContain('Too many requests');
    expect((await get('/')).status).toBe(200);
  });
});

describe('the public pages, of a gate', () => {
  let database: TestDatabase;
  let costs: CostReader;
  let gate: TestGate;
  let agentId: string;
  beforeAll(async () => {
    database = await createTestDatabase();
    costs = await readCosts(database);
    const env = { TRUSTED_PROXIES: '127.0.0.1', DATABASE_URL: costs.url, LOG_LEVEL: 'debug' };
    gate = await startGate({ database, env });
    ({ agentId } = await gate.agent('builder'));
  });
  afterAll(async () => {
    await gate?.stop();
    await costs?.close();
    await database?.drop();
  });

  const get = (path: string, headers: Record<string, string> = {}) =>
    send(gate.url, { path, headers: { ...fromNewAddress(), ...headers } });

  it('tell nothing of it: a process without configuration and database makes the same', async () => {
    const site = await openPublicSite();
    for (const path of ['/', '/leaderboard'])
      expect((await get(path)).text).toBe((await send(site.url, { path })).text);
    await site.close();
  });

  it('are served where people come with browsers, and nowhere else', async () => {
    const lines = (await gate.settledLog()).split('\n').filter((line) => line.includes('what a listener serves'));
    expect(lines).toHaveLength(2);
    for (const route of ['GET /', 'GET /leaderboard', 'GET /style.css', 'GET /icon.svg'])
      expect(lines.filter((line) => line.includes(`"${route}"`))).toHaveLength(1);
  });

  it('cost the database no statement', async () => {
    const visits = 400;
    // It reads along: a start has many.
    expect(costs.take().length).toBeGreaterThan(0);
    for (let at = 0; at < visits; at += 4) {
      const paths = ['/', '/leaderboard', '/leaderboard?workflow=x', '/style.css'];
      const answers = await Promise.all(paths.map((path) => get(path)));
      expect(answers.map(({ status }) => status)).toEqual([200, 200, 404, 200]);
    }
    // What the gate does by itself, at times of its own, is not done once for each visit.
    const counts = new Map<string, number>();
    for (const { text } of costs.take()) counts.set(text, (counts.get(text) ?? 0) + 1);
    expect([...counts].filter(([, count]) => count >= visits / 4)).toEqual([]);
  });

  it('count whoever asks too often', async () => {
    const from = fromNewAddress();
    const answers = await Promise.all(Array.from({ length: publicReadsPerMinute + 20 }, () => get('/', from)));
    expect(answers.filter(({ status }) => status === 429).length).toBeGreaterThan(0);
    const metrics = await send(gate.url, { path: '/metrics', headers: { authorization: `Bearer ${gate.adminKey}` } });
    expect(metrics.text).toMatch(/rate_limit_exceeded_total\{class="public_page",identifier_type="ip"\} [1-9]/);
  });

  it('what does not exist is a page to a browser, and JSON to a program', async () => {
    const accept = 'text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8';
    const { status, headers, text } = await get('/no/<b>such%3Cb%3E', { accept });
    expect([status, headers['content-type'], headers['content-security-policy']]).toEqual([
      404,
      'text/html; charset=utf-8',
      policy,
    ]);
    expect(text).toContain('There is nothing at GET /no/&lt;b&gt;such%3Cb%3E.');
    expect([headers.vary, headers['cache-control']]).toEqual(['Accept', 'no-store']);
    for (const [path, wanted] of [
      ['/nowhere', '*/*'],
      ['/nowhere', 'application/json'],
      ['/nowhere', 'text/html-sandboxed'],
      ['/v1/nowhere', accept],
      ['/v1/messages/nowhere', accept],
    ] as const) {
      const { headers: told } = await get(path, { accept: wanted });
      expect(told['content-type']).toMatch(/^application\/(problem\+)?json/);
      expect([told.vary, told['cache-control']]).toEqual(['Accept', 'no-store']);
    }
    const posted = await send(gate.url, { method: 'POST', path: '/nowhere', headers: { accept }, body: '{}' });
    expect(posted.headers['content-type']).toMatch(/^application\/problem\+json/);
  });

  it('show what an operator publishes, from five runs on, as the text that it is, and no more when it is taken back', async () => {
    const workflow = 'nightly';
    const secretLabel = 'of four runs';
    for (const [label, runs] of [
      [markup, 5],
      [secretLabel, 4],
    ] as const) {
      await gate.api('AnalyticsService/RegisterPromptVersion', { workflow, label, content: label });
      for (let at = 0; at < runs; at++) await endedRun(workflow, label);
    }
    // What ended today is shown from tomorrow on.
    const aDayAgo = (column: string) => `${column} = ${column} - interval '1 day'`;
    await queryAsOwner(database, `UPDATE runs SET ${aDayAgo('started_at')}, ${aDayAgo('finished_at')}`);
    await queryAsOwner(database, 'UPDATE run_totals SET recount = true');
    await gate.api('AnalyticsService/PublishWorkflow', { workflow, title: '<b>Nightly</b> & more' });
    const shown = async () => (await get('/leaderboard')).text;
    await expect.poll(shown, { timeout: 90_000, interval: 200 }).toContain('&quot;&gt;&lt;script&gt;alert(1)');
    const text = await shown();
    expect(text).not.toMatch(/<script|<img|<b>/);
    expect(text).toContain('<bdi>&lt;b&gt;Nightly&lt;/b&gt; &amp; more</bdi>');
    expect(text).not.toContain(secretLabel);
    expect(text).not.toContain(workflow);
    expect((await get('/')).text).toContain('href="/leaderboard"');
    await gate.api('AnalyticsService/UnpublishWorkflow', { workflow });
    await expect.poll(shown, { timeout: 60_000, interval: 200 }).toContain('Nothing is published yet');
    expect((await get('/')).text).not.toContain('href="/leaderboard"');
  });

  async function endedRun(workflow: string, promptVersion: string): Promise<void> {
    const { run } = await gate.api<{ run: { id: string } }>('RunService/StartRun', {
      workflow,
      agentId,
      promptVersion,
    });
    await gate.api('RunService/FinishRun', { runId: run.id, outcome: 'RUN_STATE_SUCCEEDED' });
  }

  it('are there while the database is not', async () => {
    await database.drop();
    for (const path of ['/', '/leaderboard', '/style.css']) expect((await get(path)).status).toBe(200);
  });
});
