import { Argument, Command } from 'commander';
import {
  CreatePersonResponseSchema,
  DisablePersonResponseSchema,
  EnablePersonResponseSchema,
  ListPeopleResponseSchema,
  type Person,
  type PersonRole,
  PersonRoleSchema,
  PersonStateSchema,
  ProjectService,
  UnlinkPersonResponseSchema,
  UpdatePersonResponseSchema,
} from '../gen/portcullis/v1/project_pb.ts';
import { type CliContext, CliError } from './context.ts';
import { enumValue, enumWord, enumWords } from './enum-words.ts';
import { exitCodes } from './exit-codes.ts';
import { type GateClient, withGate } from './gate-client.ts';
import { gateCommand, type GateOptions, listCommand, type ListOptions, present } from './gate-command.ts';
import { localTime, noteMore, printAnswer, printFields, printTable, stateFormat } from './output.ts';
import { findListed, readPages } from './paging.ts';
import { projectOf, teamIdOf, teamNames } from './references.ts';

/** `portcullis people`: those who answer for agents, hold keys and sign in. */
export function peopleCommand(context: CliContext): Command {
  return new Command('people')
    .description('add and list people, say what they may do, disable them')
    .addCommand(addPersonCommand(context))
    .addCommand(listPeopleCommand(context))
    .addCommand(setRolesCommand(context))
    .addCommand(setTeamsCommand(context))
    .addCommand(renameCommand(context))
    .addCommand(disableCommand(context))
    .addCommand(enableCommand(context))
    .addCommand(unlinkCommand(context));
}

function addPersonCommand(context: CliContext): Command {
  return gateCommand('add', 'add a person, who may then answer for agents and hold keys')
    .argument('<email>')
    .requiredOption('--name <name>', 'their name')
    .action((email: string, options: GateOptions & { name: string }) =>
      withGate(context, async (gate) => {
        const project = await projectOf(gate, options);
        const answer = await gate.of(ProjectService).createPerson({ email, name: options.name, ...project });
        if (options.json) return printAnswer(context, CreatePersonResponseSchema, answer);
        await printPerson(context, gate, present(answer.person), project);
      }),
    );
}

function listPeopleCommand(context: CliContext): Command {
  return listCommand('list people, newest first').action((options: ListOptions) =>
    withGate(context, async (gate) => {
      const project = await projectOf(gate, options);
      const answer = await readPages(
        options.limit,
        (page) => gate.of(ProjectService).listPeople({ ...page, ...project }),
        ({ people }) => people,
      );
      if (options.json) return printAnswer(context, ListPeopleResponseSchema, answer);
      const teams = await teamNames(gate, project);
      printTable(
        context,
        [
          { title: 'EMAIL' },
          { title: 'NAME' },
          { title: 'STATE', format: stateFormat },
          { title: 'ROLES' },
          { title: 'TEAMS' },
          { title: 'LAST SIGN-IN' },
          { title: 'ID' },
        ],
        answer.people.map((person) => [
          person.email,
          person.name,
          enumWord(PersonStateSchema, person.state),
          rolesText(person),
          teamsText(person, teams),
          localTime(person.lastSignInTime, 'never'),
          person.id,
        ]),
        'There are no people: portcullis people add EMAIL --name NAME',
      );
      noteMore(context, answer.nextPageToken);
    }),
  );
}

const roleWords = enumWords(PersonRoleSchema);

function setRolesCommand(context: CliContext): Command {
  return gateCommand('set-roles', 'say what a person may do, with keys of their own and when they are signed in')
    .argument('<person>', 'their e-mail address or id')
    .addArgument(
      new Argument(
        '<roles...>',
        'the roles from now on; none for none; unset where their keys shall have the scopes that they were made with',
      ).choices([...roleWords, 'none', 'unset']),
    )
    .action((person: string, words: readonly string[], options: GateOptions) => {
      const alone = words.find((word) => !roleWords.includes(word));
      if (alone !== undefined && words.length > 1)
        throw new CliError(`"${alone}" stands alone: give it without other roles.`, exitCodes.usage);
      const roles = alone === undefined ? words.map((word) => enumValue(PersonRoleSchema, word)) : [];
      const change = alone === 'unset' ? {} : { roles: { roles } };
      return updatePerson(context, person, options, async () => ({ paths: ['roles'], ...change }));
    });
}

function setTeamsCommand(context: CliContext): Command {
  return gateCommand('set-teams', 'say to which teams a person belongs; none of them where none is named')
    .argument('<person>', 'their e-mail address or id')
    .argument('[teams...]', 'the teams from now on, by name or id')
    .action((person: string, teams: readonly string[], options: GateOptions) =>
      updatePerson(context, person, options, async (gate, project) => {
        const teamIds: string[] = [];
        for (const team of teams) teamIds.push(await teamIdOf(gate, team, project));
        return { paths: ['team_ids'], teamIds };
      }),
    );
}

function renameCommand(context: CliContext): Command {
  return gateCommand('rename', 'change the name of a person')
    .argument('<person>', 'their e-mail address or id')
    .argument('<name>', 'the new name')
    .action((person: string, name: string, options: GateOptions) =>
      updatePerson(context, person, options, async () => ({ paths: ['name'], name })),
    );
}

function disableCommand(context: CliContext): Command {
  const description = 'end the sessions of a person, stop their keys and those of the agents that they answer for';
  return personCommand(context, 'disable', description, async (gate, named, { json }) => {
    const answer = await gate.of(ProjectService).disablePerson(named);
    if (json) return printAnswer(context, DisablePersonResponseSchema, answer);
    await printPerson(context, gate, present(answer.person), named);
  });
}

function enableCommand(context: CliContext): Command {
  const description = 'let a disabled person act again, with the keys and agents that they had';
  return personCommand(context, 'enable', description, async (gate, named, { json }) => {
    const answer = await gate.of(ProjectService).enablePerson(named);
    if (json) return printAnswer(context, EnablePersonResponseSchema, answer);
    await printPerson(context, gate, present(answer.person), named);
  });
}

function unlinkCommand(context: CliContext): Command {
  const description = 'forget which account at the identity provider a person is, and end their sessions';
  return personCommand(context, 'unlink', description, async (gate, named, { json }) => {
    const answer = await gate.of(ProjectService).unlinkPerson(named);
    if (json) return printAnswer(context, UnlinkPersonResponseSchema, answer);
    await printPerson(context, gate, present(answer.person), named);
  });
}

/** A command that does one thing to one person. */
function personCommand(
  context: CliContext,
  name: string,
  description: string,
  act: (gate: GateClient, named: { personId: string; projectId?: string }, options: GateOptions) => Promise<void>,
): Command {
  return gateCommand(name, description)
    .argument('<person>', 'their e-mail address or id')
    .action((person: string, options: GateOptions) =>
      withGate(context, async (gate) => {
        const project = await projectOf(gate, options);
        await act(gate, { personId: await personIdOf(gate, person, project), ...project }, options);
      }),
    );
}

interface Change {
  readonly paths: string[];
  readonly name?: string;
  readonly roles?: { roles: PersonRole[] };
  readonly teamIds?: string[];
}

function updatePerson(
  context: CliContext,
  person: string,
  options: GateOptions,
  change: (gate: GateClient, project: { projectId?: string }) => Promise<Change>,
): Promise<void> {
  return withGate(context, async (gate) => {
    const project = await projectOf(gate, options);
    const personId = await personIdOf(gate, person, project);
    const { paths, ...fields } = await change(gate, project);
    const answer = await gate
      .of(ProjectService)
      .updatePerson({ personId, updateMask: { paths }, ...fields, ...project });
    if (options.json) return printAnswer(context, UpdatePersonResponseSchema, answer);
    await printPerson(context, gate, present(answer.person), project);
  });
}

async function personIdOf(gate: GateClient, person: string, project: { projectId?: string }): Promise<string> {
  if (person.startsWith('psn_')) return person;
  const found = await findListed(
    (page) => gate.of(ProjectService).listPeople({ ...page, ...project }),
    ({ people }) => people,
    ({ email }) => email.toLowerCase() === person.toLowerCase(),
  );
  if (found === undefined)
    throw new CliError(`There is nobody with the address "${person}": \`portcullis people list\`.`);
  return found.id;
}

async function printPerson(
  context: CliContext,
  gate: GateClient,
  person: Person,
  { projectId }: { projectId?: string },
): Promise<void> {
  const teams = person.teamIds.length === 0 ? new Map() : await teamNames(gate, projectId ? { projectId } : {});
  printFields(context, [
    ['id', person.id],
    ['email', person.email],
    ['name', person.name],
    ['state', enumWord(PersonStateSchema, person.state)],
    ['roles', rolesText(person)],
    ['teams', teamsText(person, teams)],
    ['signs in at', person.issuer],
    ['as', person.subject],
    ['last sign-in', localTime(person.lastSignInTime)],
    ['project', person.projectId],
    ['added', localTime(person.createTime)],
  ]);
}

/** `-` where nobody has said, which is not the same as none. */
function rolesText({ roles }: Person): string {
  if (roles === undefined) return '-';
  return roles.roles.length === 0 ? 'none' : roles.roles.map((role) => enumWord(PersonRoleSchema, role)).join(' ');
}

function teamsText({ teamIds }: Person, names: ReadonlyMap<string, string>): string {
  return teamIds.map((id) => names.get(id) ?? id).join(', ');
}
