import { Command } from 'commander';
import {
  CreateTeamResponseSchema,
  DeleteTeamResponseSchema,
  ListTeamsResponseSchema,
  ProjectService,
  RenameTeamResponseSchema,
  type Team,
} from '../gen/portcullis/v1/project_pb.ts';
import type { CliContext } from './context.ts';
import { withGate } from './gate-client.ts';
import { gateCommand, type GateOptions, listCommand, type ListOptions, present } from './gate-command.ts';
import { localTime, noteMore, printAnswer, printFields, printLine, printTable } from './output.ts';
import { readPages } from './paging.ts';
import { projectOf, teamIdOf } from './references.ts';

/** `portcullis teams`: what people belong to. */
export function teamsCommand(context: CliContext): Command {
  return new Command('teams')
    .description('make, list, rename and delete teams of people')
    .addCommand(createCommand(context))
    .addCommand(listTeamsCommand(context))
    .addCommand(renameCommand(context))
    .addCommand(deleteCommand(context));
}

function createCommand(context: CliContext): Command {
  return gateCommand('create', 'make a team; people join it with portcullis people set-teams')
    .argument('<name>')
    .action((name: string, options: GateOptions) =>
      withGate(context, async (gate) => {
        const answer = await gate.of(ProjectService).createTeam({ name, ...(await projectOf(gate, options)) });
        if (options.json) return printAnswer(context, CreateTeamResponseSchema, answer);
        printTeam(context, present(answer.team));
      }),
    );
}

function listTeamsCommand(context: CliContext): Command {
  return listCommand('list teams, newest first').action((options: ListOptions) =>
    withGate(context, async (gate) => {
      const project = await projectOf(gate, options);
      const answer = await readPages(
        options.limit,
        (page) => gate.of(ProjectService).listTeams({ ...page, ...project }),
        ({ teams }) => teams,
      );
      if (options.json) return printAnswer(context, ListTeamsResponseSchema, answer);
      printTable(
        context,
        [{ title: 'NAME' }, { title: 'ID' }, { title: 'CREATED' }],
        answer.teams.map((team) => [team.name, team.id, localTime(team.createTime)]),
        'There are no teams: portcullis teams create NAME',
      );
      noteMore(context, answer.nextPageToken);
    }),
  );
}

function renameCommand(context: CliContext): Command {
  return gateCommand('rename', 'give a team another name')
    .argument('<team>', 'its name or id')
    .argument('<name>', 'the new name')
    .action((team: string, name: string, options: GateOptions) =>
      withGate(context, async (gate) => {
        const project = await projectOf(gate, options);
        const teamId = await teamIdOf(gate, team, project);
        const answer = await gate.of(ProjectService).renameTeam({ teamId, name, ...project });
        if (options.json) return printAnswer(context, RenameTeamResponseSchema, answer);
        printTeam(context, present(answer.team));
      }),
    );
}

function deleteCommand(context: CliContext): Command {
  return gateCommand('delete', 'end a team: nobody belongs to it any more')
    .argument('<team>', 'its name or id')
    .action((team: string, options: GateOptions) =>
      withGate(context, async (gate) => {
        const project = await projectOf(gate, options);
        const answer = await gate
          .of(ProjectService)
          .deleteTeam({ teamId: await teamIdOf(gate, team, project), ...project });
        if (options.json) return printAnswer(context, DeleteTeamResponseSchema, answer);
        const { name, id } = present(answer.team);
        printLine(context, `Team ${name} (${id}) is deleted.`);
      }),
    );
}

function printTeam(context: CliContext, team: Team): void {
  printFields(context, [
    ['id', team.id],
    ['name', team.name],
    ['project', team.projectId],
    ['created', localTime(team.createTime)],
    ['created by', team.createdBy],
  ]);
}
