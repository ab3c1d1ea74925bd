import { describe, expect, test } from 'vitest';
import { jsonDepthMax } from '../base/limits.ts';
import { scanObject } from './json-scan.ts';
import { toolNames, type ToolNames } from './tool-names.ts';

function toolsOf(request: object, namesMax = 10): ToolNames {
  const body = Buffer.from(JSON.stringify(request));
  return toolNames(body, scanObject(body, { depthMax: jsonDepthMax }), namesMax);
}

describe('the tools of a request', () => {
  test('have every name that a tool has, so that none hides another', () => {
    const decoy = { type: 'function', name: 'search', function: { name: 'delete_user' }, custom: { name: 'shell' } };
    expect(toolsOf({ tools: [decoy] }).names).toEqual(['search', 'delete_user', 'shell']);
    expect(toolsOf({ tools: [{ type: 'bash_20250124', name: 'bash' }] }).names).toEqual(['bash', 'bash_20250124']);
    expect(toolsOf({ tools: [{ type: 'web_search' }, { type: 'custom' }] }).names).toEqual(['web_search']);
    expect(toolsOf({ functions: [{ name: 'a' }] }).names).toEqual(['a']);
    expect(toolsOf({ tools: [{ type: 'namespace', name: 'n', tools: [{ name: 'inner' }] }] }).names).toEqual([
      'n',
      'namespace',
      'inner',
    ]);
  });

  test('are as many as are asked for, and no more', () => {
    const tools = [{ name: 'a' }, { name: 'b', function: { name: 'c' } }, { name: 'd' }];
    expect(toolsOf({ tools }, 2).names).toEqual(['a', 'b']);
  });

  test.each([
    [{ web_search_options: {} }],
    [{ search_parameters: { mode: 'on' } }],
    [{ plugins: [{ id: 'web' }] }],
    [{ preset: 'researcher' }],
    [{ container: { skills: [{ type: 'anthropic', skill_id: 'xlsx' }] } }],
    [{ mcp_servers: [{ url: 'https://tools.example' }] }],
    [{ tools: ['browser'] }],
  ])('come from elsewhere where the request says %j', (request) => {
    expect(toolsOf(request).elsewhere).toBe(true);
  });

  test.each([
    [{ tools: [{ name: 'a' }] }],
    [{ web_search_options: null, plugins: null, container: null, mcp_servers: [] }],
    [{ container: {} }],
  ])('are all listed where it says %j', (request) => {
    expect(toolsOf(request).elsewhere).toBe(false);
  });
});
