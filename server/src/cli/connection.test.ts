import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeEach, describe, expect, test } from 'vitest';
import { testContext } from '../../../test/support/cli.ts';
import { findConnection } from './connection.ts';

const root = mkdtempSync(join(tmpdir(), 'portcullis-connection-'));
afterAll(() => rmSync(root, { recursive: true }));
let cwd = root;
beforeEach(() => {
  cwd = mkdtempSync(join(root, 'cwd-'));
  // For root, data below a folder that others cannot enter is elsewhere (pg/embedded/data-dir.ts).
  for (const dir of [root, cwd]) chmodSync(dir, 0o755);
});

const local = { url: 'http://127.0.0.1:8080', admin_key: 'admin-key', agent_key: 'agent-key' };

function leaveCredentials(dataDir: string, content: unknown = local): void {
  mkdirSync(dataDir, { recursive: true });
  writeFileSync(join(dataDir, 'credentials.json'), typeof content === 'string' ? content : JSON.stringify(content));
}

function find(environment: Record<string, string>, url?: string) {
  return findConnection(testContext({ environment, cwd }).context, url);
}

describe('the gate to talk to', () => {
  test('is the one that the environment names, with its key', () => {
    const environment = { PORTCULLIS_URL: 'https://gate.example.com/', PORTCULLIS_KEY: 'pcl_key' };
    expect(find(environment)).toEqual({ url: 'https://gate.example.com', key: 'pcl_key' });
  });

  test('takes its key from a file, without the line feed at its end', () => {
    writeFileSync(join(cwd, 'key'), 'pcl_key\n');
    expect(find({ PORTCULLIS_URL: 'https://gate.example.com', PORTCULLIS_KEY_FILE: 'key' }).key).toBe('pcl_key');
  });

  test('is else the one that was started on the data folder, with the admin key', () => {
    leaveCredentials(join(cwd, 'data'));
    expect(find({})).toEqual({ url: local.url, key: 'admin-key' });
    leaveCredentials(join(cwd, 'elsewhere'), { ...local, admin_key: 'other' });
    expect(find({ DATA_DIR: 'elsewhere' }).key).toBe('other');
    expect(find({ PORTCULLIS_KEY: 'mine' }).key).toBe('mine');
  });

  test('is read from .env like the options of the gate', () => {
    writeFileSync(join(cwd, '.env'), 'DATA_DIR=./from-env\n');
    leaveCredentials(join(cwd, 'from-env'));
    expect(find({}).url).toBe(local.url);
  });

  test('never gets the local admin key when it is another gate', () => {
    leaveCredentials(join(cwd, 'data'));
    expect(() => find({ PORTCULLIS_URL: 'https://evil.example.com' })).toThrow(/There is no key for https:\/\/evil/);
    expect(() => find({}, 'https://evil.example.com')).toThrow(/There is no key/);
    expect(find({}, 'http://127.0.0.1:8080/').key).toBe('admin-key');
  });

  test('is refused over plain http to another machine, whatever its name looks like', () => {
    const key = { PORTCULLIS_KEY: 'pcl_key' };
    for (const url of [
      'http://gate.example.com',
      'http://127.0.0.1.example.com',
      'http://10.0.0.1',
      'http://localhost.evil.com',
    ]) {
      expect(() => find({ ...key, PORTCULLIS_URL: url })).toThrow(/use https/);
    }
    for (const url of ['http://localhost:1', 'http://[::1]:1', 'http://127.0.0.2:1']) {
      expect(find({ ...key, PORTCULLIS_URL: url }).url).toBe(url);
    }
  });

  test('is refused with a key in its URL, and the key is not repeated', () => {
    for (const url of ['https://user:hunter2@gate.example.com', 'https://gate.example.com/?key=hunter2', 'hunter2']) {
      const attempt = () => find({ PORTCULLIS_URL: url, PORTCULLIS_KEY: 'pcl_key' });
      expect(attempt).toThrow(/The URL of the gate/);
      expect(attempt).not.toThrow(/hunter2/);
    }
  });

  test('is refused in one line when nothing is known, or what is known is broken', () => {
    expect(() => find({})).toThrow(/start one with `npm start`/);
    leaveCredentials(join(cwd, 'data'), '{"url": ');
    expect(() => find({})).toThrow(/is not what `portcullis up` writes/);
    expect(() => find({ PORTCULLIS_KEY: 'a', PORTCULLIS_KEY_FILE: 'b' })).toThrow(/keep one/);
    expect(() => find({ PORTCULLIS_KEY_FILE: 'missing' })).toThrow(/cannot be read/);
    expect(() => find({ PORTCULLIS_KEY: 'two words' })).toThrow(/no key has/);
  });
});
