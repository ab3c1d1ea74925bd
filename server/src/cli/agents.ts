import { Command } from 'commander';
import {
  type Agent,
  AgentService,
  AgentStateSchema,
  CreateAgentResponseSchema,
  DisableAgentResponseSchema,
  GetAgentResponseSchema,
  ListAgentsResponseSchema,
} from '../gen/portcullis/v1/agent_pb.ts';
import type { CliContext } from './context.ts';
import { enumWord } from './enum-words.ts';
import { withGate } from './gate-client.ts';
import {
  collectScopes,
  gateCommand,
  type GateOptions,
  listCommand,
  type ListOptions,
  present,
} from './gate-command.ts';
import { localTime, noteMore, printAnswer, printFields, printNote, printTable, stateFormat } from './output.ts';
import { readPages } from './paging.ts';
import { agentIdOf, projectOf } from './references.ts';

/** `portcullis agents`: who may call. */
export function agentsCommand(context: CliContext): Command {
  return new Command('agents')
    .description('register, list and disable agents')
    .addCommand(createCommand(context))
    .addCommand(listAgentsCommand(context))
    .addCommand(showCommand(context))
    .addCommand(disableCommand(context));
}

interface CreateOptions extends GateOptions {
  readonly description?: string;
  readonly person?: string;
  readonly issuer?: string;
  readonly subject?: string;
  readonly certificateScope?: string[];
}

function createCommand(context: CliContext): Command {
  return gateCommand('create', 'register an agent; it can call once it has a key')
    .argument('<name>')
    .option('--description <text>', 'what it is for')
    .option('--person <id>', 'the person who answers for it')
    .option('--issuer <url>', 'the issuer of access tokens that knows it')
    .option('--subject <subject>', 'its subject at that issuer')
    .option(
      '--certificate-scope <scope>',
      'what it may ask for by its client certificate alone; repeatable',
      collectScopes,
    )
    .action((name: string, options: CreateOptions) =>
      withGate(context, async (gate) => {
        const answer = await gate.of(AgentService).createAgent({
          name,
          description: options.description ?? '',
          ...(options.person === undefined ? {} : { personId: options.person }),
          ...(options.issuer === undefined ? {} : { issuer: options.issuer }),
          ...(options.subject === undefined ? {} : { subject: options.subject }),
          certificateScopes: options.certificateScope ?? [],
          ...(await projectOf(gate, options)),
        });
        if (options.json) return printAnswer(context, CreateAgentResponseSchema, answer);
        const agent = present(answer.agent);
        printAgent(context, agent);
        printNote(context, `Give it a key: portcullis keys create --agent ${agent.id} --scope models:invoke`);
      }),
    );
}

function listAgentsCommand(context: CliContext): Command {
  return listCommand('list agents, newest first').action((options: ListOptions) =>
    withGate(context, async (gate) => {
      const project = await projectOf(gate, options);
      const answer = await readPages(
        options.limit,
        (page) => gate.of(AgentService).listAgents({ ...page, ...project }),
        ({ agents }) => agents,
      );
      if (options.json) return printAnswer(context, ListAgentsResponseSchema, answer);
      printTable(
        context,
        [
          { title: 'NAME' },
          { title: 'STATE', format: stateFormat },
          { title: 'ID' },
          { title: 'CREATED' },
          { title: 'DESCRIPTION' },
        ],
        answer.agents.map((agent) => [
          agent.name,
          enumWord(AgentStateSchema, agent.state),
          agent.id,
          localTime(agent.createTime),
          agent.description,
        ]),
        'There are no agents: portcullis agents create NAME',
      );
      noteMore(context, answer.nextPageToken);
    }),
  );
}

function showCommand(context: CliContext): Command {
  return gateCommand('show', 'show one agent')
    .argument('<agent>', 'its name or id')
    .action((agent: string, options: GateOptions) =>
      withGate(context, async (gate) => {
        const project = await projectOf(gate, options);
        const agentId = await agentIdOf(gate, agent, project);
        const answer = await gate.of(AgentService).getAgent({ agentId, ...project });
        if (options.json) return printAnswer(context, GetAgentResponseSchema, answer);
        printAgent(context, present(answer.agent));
      }),
    );
}

function disableCommand(context: CliContext): Command {
  return gateCommand('disable', 'stop an agent for good: its keys, its tokens and its calls in flight')
    .argument('<agent>', 'its name or id')
    .action((agent: string, options: GateOptions) =>
      withGate(context, async (gate) => {
        const project = await projectOf(gate, options);
        const agentId = await agentIdOf(gate, agent, project);
        const answer = await gate.of(AgentService).disableAgent({ agentId, ...project });
        if (options.json) return printAnswer(context, DisableAgentResponseSchema, answer);
        printAgent(context, present(answer.agent));
      }),
    );
}

function printAgent(context: CliContext, agent: Agent): void {
  printFields(context, [
    ['id', agent.id],
    ['name', agent.name],
    ['state', enumWord(AgentStateSchema, agent.state)],
    ['description', agent.description],
    ['person', agent.personId],
    ['issuer', agent.issuer],
    ['subject', agent.subject],
    ['by certificate', agent.certificateScopes.join(' ')],
    ['project', agent.projectId],
    ['created', localTime(agent.createTime)],
    ['created by', agent.createdBy],
  ]);
}
