import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { loadConfig } from './config.ts';

const root = mkdtempSync(join(tmpdir(), 'portcullis-messages-'));
afterAll(() => rmSync(root, { recursive: true }));

function load(environment: Record<string, string>, yaml = '') {
  const file = join(root, 'portcullis.yaml');
  writeFileSync(file, yaml);
  return loadConfig({ CONFIG_FILE: file, ...environment }, root);
}

const from = { MAIL_FROM: 'Portcullis <gate@example.com>' };

describe('SMTP_URL', () => {
  it.each([
    ['smtp://mail.example.com', { host: 'mail.example.com', port: 587, tls: 'required', user: null, password: null }],
    ['smtp://mail.example.com:25', { host: 'mail.example.com', port: 25, tls: 'required', user: null, password: null }],
    ['smtps://mail.example.com', { host: 'mail.example.com', port: 465, tls: 'implicit', user: null, password: null }],
    [
      'smtps://mail.example.com:443/',
      { host: 'mail.example.com', port: 443, tls: 'implicit', user: null, password: null },
    ],
    ['smtp://ada%40x:p%3A%2F%40w@h:2525', { host: 'h', port: 2525, tls: 'required', user: 'ada@x', password: 'p:/@w' }],
    ['smtp://127.0.0.1:1025?tls=off', { host: '127.0.0.1', port: 1025, tls: 'off', user: null, password: null }],
    ['smtp://[::1]:1025/?tls=off', { host: '::1', port: 1025, tls: 'off', user: null, password: null }],
  ])('reads %s', (url, server) => {
    const { config, problems } = load({ ...from, SMTP_URL: url });
    expect(problems).toEqual([]);
    expect(config.options.SMTP_URL).toEqual(server);
  });

  it.each([
    'mail.example.com:25',
    'https://mail.example.com',
    'smtp://',
    'smtp:///x',
    'smtp://h/path',
    'smtp://h?tls=maybe',
    'smtps://h?tls=off',
    'smtp://:hunter2@h',
    'smtp://a%ZZ:hunter2@h',
    'smtp://h:99999',
    'smtp://h#x',
  ])('refuses %s, without repeating it', (url) => {
    const { problems } = load({ SMTP_URL: url });
    expect(problems).toEqual([expect.stringMatching(/SMTP_URL.*write smtp:\/\/user:password@host:587/)]);
    expect(problems.join()).not.toContain('hunter2');
  });

  it('and MAIL_FROM need each other', () => {
    expect(load({ SMTP_URL: 'smtp://h' }).problems.join()).toContain('SMTP_URL needs MAIL_FROM');
    expect(load(from).problems.join()).toContain('MAIL_FROM has no effect without SMTP_URL');
    expect(load({ SMTP_URL: 'smtp://h', MAIL_FROM: 'a@b.example\r\nBcc: c@d.example' }).problems.join()).toContain(
      'MAIL_FROM',
    );
  });

  it('in production needs TLS off this machine, and links that lead here', () => {
    const strong = 'Zq8vN2xW5rT7yU4iO9pL3kJ6hG1fD0sA';
    const safe = {
      ...from,
      NODE_ENV: 'production',
      SECRETS_KEY: strong,
      DATABASE_URL: 'postgres://portcullis@db/portcullis',
    };
    const told = load({ ...safe, SMTP_URL: 'smtp://mail.example.com?tls=off' }).problems.join('\n');
    expect(told).toContain('SMTP_URL has tls=off');
    expect(told).toContain('SMTP_URL needs PUBLIC_URL');
    const good = { ...safe, PUBLIC_URL: 'https://gate.example.com' };
    expect(load({ ...good, SMTP_URL: 'smtp://127.0.0.1:25?tls=off' }).problems).toEqual([]);
    const yaml = 'approvals: { chats: { ops: { url: http://chat.example.com/hook } } }';
    expect(load({ ...safe, SMTP_URL: 'smtps://h' }, yaml).problems.join('\n')).toMatch(
      /chats\.ops: url is plaintext http.*chats need PUBLIC_URL/s,
    );
  });
});

describe('approvals.chats', () => {
  it('are places of one project, for many or for one person', () => {
    const yaml = `
approvals:
  chats:
    ops: { url: 'https://hooks.example.com/a', groups: ['role:approver', 'team:Ops team'] }
    ada: { url: 'https://hooks.example.com/b', person: ada@example.com, project: other }
`;
    const { config, problems } = load({}, yaml);
    expect(problems).toEqual([]);
    expect(config.file.approvals?.chats).toEqual({
      ops: { url: 'https://hooks.example.com/a', project: 'default', groups: ['role:approver', 'team:Ops team'] },
      ada: { url: 'https://hooks.example.com/b', project: 'other', groups: [], person: 'ada@example.com' },
    });
  });

  it.each([
    ['no address', '{ groups: [] }'],
    ['another scheme', '{ url: "ftp://h/" }'],
    ['a password in the address', '{ url: "https://me:pw@h/" }'],
    ['something else than a group', '{ url: "https://h/", groups: [approver] }'],
    ['groups of one person', '{ url: "https://h/", groups: ["role:approver"], person: "a@example.com" }'],
    ['no such field', '{ url: "https://h/", channel: x }'],
  ])('refuse %s', (_, chat) => {
    expect(load({}, `approvals: { chats: { ops: ${chat} } }`).problems).toHaveLength(1);
  });
});

describe('EGRESS_ALLOW_PRIVATE', () => {
  it('is exact hosts and ports, as URLs spell them', () => {
    const { config, problems } = load({
      EGRESS_ALLOW_PRIVATE: '10.0.0.5:9000, Hooks.Internal.:443 [FD00:0::1]:8080,0x7f.1:80',
    });
    expect(problems).toEqual([]);
    expect(config.options.EGRESS_ALLOW_PRIVATE).toEqual([
      { host: '10.0.0.5', port: 9000 },
      { host: 'hooks.internal', port: 443 },
      { host: '[fd00::1]', port: 8080 },
      { host: '127.0.0.1', port: 80 },
    ]);
  });

  it.each([
    '10.0.0.5',
    '10.0.0.0/8:443',
    '*.internal:443',
    'http://h:80',
    'h:0',
    'h:65536',
    'h:https',
    'fd00::1:80',
    'u@h:80',
    ':80',
  ])('refuses %s', (text) => {
    expect(load({ EGRESS_ALLOW_PRIVATE: text }).problems.join()).toMatch(/EGRESS_ALLOW_PRIVATE.*write host:port/);
  });
});
