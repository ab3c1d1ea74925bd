import { Command } from 'commander';
import {
  CreatePersonResponseSchema,
  DisablePersonResponseSchema,
  ListPeopleResponseSchema,
  type Person,
  PersonStateSchema,
  ProjectService,
} from '../gen/portcullis/v1/project_pb.ts';
import { type CliContext, CliError } from './context.ts';
import { enumWord } from './enum-words.ts';
import { type GateClient, withGate } from './gate-client.ts';
import { gateCommand, type GateOptions, listCommand, type ListOptions, present } from './gate-command.ts';
import { localTime, noteMore, printAnswer, printFields, printTable, stateFormat } from './output.ts';
import { findListed, readPages } from './paging.ts';
import { projectOf } from './references.ts';

/** `portcullis people`: those who answer for agents. */
export function peopleCommand(context: CliContext): Command {
  return new Command('people')
    .description('add, list and disable people')
    .addCommand(addPersonCommand(context))
    .addCommand(listPeopleCommand(context))
    .addCommand(disableCommand(context));
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
        printPerson(context, present(answer.person));
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
      printTable(
        context,
        [
          { title: 'EMAIL' },
          { title: 'NAME' },
          { title: 'STATE', format: stateFormat },
          { title: 'ID' },
          { title: 'ADDED' },
        ],
        answer.people.map((person) => [
          person.email,
          person.name,
          enumWord(PersonStateSchema, person.state),
          person.id,
          localTime(person.createTime),
        ]),
        'There are no people: portcullis people add EMAIL --name NAME',
      );
      noteMore(context, answer.nextPageToken);
    }),
  );
}

function disableCommand(context: CliContext): Command {
  return gateCommand('disable', 'stop the keys of a person and of the agents that they answer for')
    .argument('<person>', 'their e-mail address or id')
    .action((person: string, options: GateOptions) =>
      withGate(context, async (gate) => {
        const project = await projectOf(gate, options);
        const personId = await personIdOf(gate, person, project);
        const answer = await gate.of(ProjectService).disablePerson({ personId, ...project });
        if (options.json) return printAnswer(context, DisablePersonResponseSchema, answer);
        printPerson(context, present(answer.person));
      }),
    );
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

function printPerson(context: CliContext, person: Person): void {
  printFields(context, [
    ['id', person.id],
    ['email', person.email],
    ['name', person.name],
    ['state', enumWord(PersonStateSchema, person.state)],
    ['project', person.projectId],
    ['added', localTime(person.createTime)],
  ]);
}
