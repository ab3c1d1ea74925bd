import { join } from 'node:path';

/** A coding agent, and how it is told to copy `in.txt` to `out.txt` with its own tools, without a terminal. */
export interface Client {
  readonly name: string;
  /** The package that it comes in, and where its program is in `node_modules`. */
  readonly package: string;
  readonly bin: string;
  readonly args: readonly string[];
  /** What keeps it from asking the internet for anything that it could do without. */
  readonly environment: Readonly<Record<string, string>>;
  /** What the simulated model is to call, a line a turn. The tool goes on after the last of them. */
  readonly calls: (folder: string) => readonly string[];
  /** The models of the gate that it is tried with. */
  readonly models: readonly string[];
}

const content = 'Portcullis\n';

const codexSilence = ['-c', 'analytics.enabled=false', '-c', 'check_for_update_on_startup=false'];

export const clients: readonly Client[] = [
  {
    name: 'claude',
    package: '@anthropic-ai/claude-code',
    bin: '.bin',
    args: ['-p', '--output-format', 'json', '--allowedTools', 'Read,Write,ToolSearch'],
    environment: { CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC: '1', DISABLE_AUTOUPDATER: '1' },
    calls: (folder) => [
      // A tool that is defined only when it was searched for.
      call('ToolSearch', { query: 'select:WebFetch', max_results: 1 }),
      call('Read', { file_path: join(folder, 'in.txt') }),
      call('Write', { file_path: join(folder, 'out.txt'), content }),
    ],
    models: ['sim', 'over-chat', 'over-responses'],
  },
  {
    name: 'codex',
    package: '@openai/codex',
    bin: '.bin',
    // Its sandbox needs what containers often forbid; the folder is a throwaway, and the model is a script.
    args: ['exec', '--skip-git-repo-check', '--sandbox', 'danger-full-access', ...codexSilence, '-'],
    environment: {},
    calls: () => [call('exec_command', { cmd: 'cat in.txt' }), call('exec_command', { cmd: 'cp in.txt out.txt' })],
    models: ['sim', 'over-chat', 'over-messages'],
  },
  {
    name: 'opencode',
    // Its own package wants one for every platform, and not every registry has them all.
    package: 'opencode-linux-x64',
    bin: 'opencode-linux-x64/bin',
    args: ['run'],
    environment: { OPENCODE_DISABLE_AUTOUPDATE: '1', OPENCODE_DISABLE_MODELS_FETCH: '1' },
    calls: (folder) => [
      call('read', { filePath: join(folder, 'in.txt') }),
      call('write', { filePath: join(folder, 'out.txt'), content }),
    ],
    models: ['sim', 'over-messages', 'over-responses'],
  },
];

/** What stands in `in.txt`, and must stand in `out.txt`. */
export { content as copied };

/** The prompt: words for the tool, and a script for the simulated model (`server/src/llm/sim/steps.ts`). */
export function promptOf({ calls }: Client, folder: string): string {
  return ['Copy in.txt to out.txt.', 'sim script:', ...calls(folder), 'say Copied.', ''].join('\n');
}

function call(tool: string, input: object): string {
  return `call ${tool} ${JSON.stringify(input)}`;
}
