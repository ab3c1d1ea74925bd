import { resolve } from 'node:path';
import { Command } from 'commander';
import { configurationFor } from './configuration.ts';
import { CliError, type CliContext, type RunningGate } from './context.ts';
import { runUntilSignal } from './signals.ts';

/** `portcullis up` (`npm start`): everything in one process on an embedded PostgreSQL, with keys to paste. */
export function upCommand(context: CliContext): Command {
  return new Command('up').description('run everything here, on an embedded PostgreSQL').action(async () => {
    const config = configurationFor(context);
    if (!config.embedded) throw new CliError('DATABASE_URL is set: use `portcullis migrate` and `portcullis serve`.');
    await runUntilSignal(
      () => context.start(config, (line) => context.stderr.write(`${line}\n`)),
      (gate) => context.stdout.write(welcome(gate)),
      context,
    );
  });
}

/** What a new user pastes. Every snippet of it is executed by a test. */
export function welcome({ url, credentialsFile, agentKey }: RunningGate): string {
  const launcher = resolve(import.meta.dirname, '../../../bin/portcullis');
  return `
Portcullis is up at ${url}
Keys and addresses: ${credentialsFile ?? ''} (readable by you alone)

curl
  curl ${url}/v1/messages -H "x-api-key: ${agentKey ?? ''}" -H "anthropic-version: 2023-06-01" \\
    -H "content-type: application/json" \\
    -d '{"model":"sim","max_tokens":100,"messages":[{"role":"user","content":"Hello"}]}'

OpenAI SDK
  export OPENAI_BASE_URL=${url}/v1 OPENAI_API_KEY=${agentKey ?? ''}

Anthropic SDK
  export ANTHROPIC_BASE_URL=${url} ANTHROPIC_API_KEY=${agentKey ?? ''}

Claude Code, Codex, OpenCode or any command (after \`portcullis add anthropic\`, say): one run, with a key of its own
  ${launcher} run -- claude

Command line, from any directory
  ${launcher} --help

Ctrl-C stops everything; the data stays.
`;
}
