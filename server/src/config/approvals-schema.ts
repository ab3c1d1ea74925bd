import { z } from 'zod';
import { approvalChatsMax } from '../base/approval-limits.ts';

const chat = z
  .strictObject({
    url: z
      .url({ protocol: /^https?$/ })
      .refine((text) => URL.parse(text)?.username === '', 'leave user name and password out of it')
      .describe(
        "An incoming webhook in Slack's format (Slack, Mattermost and others have them), as `${NAME}`: whoever knows it can post there.",
      ),
    project: z
      .string()
      .min(1)
      .default('default')
      .describe('The project, by name, whose requests are told there. It must exist when the gate starts.'),
    groups: z
      .array(z.string().regex(/^(role|team|person):\S.*$/, 'write role:approver, team:<name> or person:<address>'))
      .max(10)
      .default([])
      .describe(
        'Only requests of which one of these groups is told: `role:approver`, `team:<name>`, `person:<address>`. Without it: all of the project.',
      ),
    person: z
      .email('write the address of a person')
      .optional()
      .describe(
        'The one person who reads there, by address: then messages carry a link by which this person decides. Without it: many may read, and links lead to a page that asks who they are.',
      ),
  })
  .refine(({ groups, person }) => groups.length === 0 || person === undefined, {
    error: 'groups are for places that many read: leave them or person out',
    path: ['groups'],
  })
  .meta({
    id: 'approval_chat',
    title: 'A place in a chat',
    description: 'Where a message about each request for approval is posted.',
  });

/** The section `approvals`. */
export const approvals = z
  .strictObject({
    chats: z
      .record(
        z.string().regex(/^[A-Za-z0-9._-]{1,64}$/, 'letters, digits, dots, dashes and underscores, 64 at most'),
        chat,
      )
      .refine((chats) => Object.keys(chats).length <= approvalChatsMax, `there may be ${approvalChatsMax} of them`)
      .default({})
      .describe('Places in chats that are told of requests for approval, each under a name of your choice.'),
  })
  .meta({
    id: 'approvals',
    title: 'Approvals',
    description:
      'Who is told of requests for approval besides the inbox. E-mail is set by `SMTP_URL` and `MAIL_FROM`. A change needs a restart.',
  });
