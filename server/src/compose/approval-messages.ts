/** Telling people of requests for approval. Part of the composition root: see main.ts. */
import { approvalMessageEveryMs } from '../base/approval-limits.ts';
import { purgeBatchMax, purgeEveryMs } from '../base/limits.ts';
import { createChat } from '../approval/channels/chat.ts';
import { createEmail } from '../approval/channels/email.ts';
import { Messenger } from '../approval/channels/messenger.ts';
import type { Audience, Channel } from '../approval/channels/model.ts';
import { purgeMessages } from '../approval/channels/store.ts';
import type { LinkMint } from '../approval/links/mint.ts';
import type { Config } from '../config/config.ts';
import { approvalPath } from '../http/approvals/approval-page.ts';
import type { IdentityIndex } from '../identity/identity-index.ts';
import type { Egress } from '../net/egress/egress.ts';
import { startJobs } from '../worker/ticker.ts';
import type { Base } from './base.ts';
import type { Store } from './database.ts';
import { projectIdOf } from './identity.ts';

interface Parts {
  readonly egress: Egress;
  readonly identity: IdentityIndex;
  readonly mint: LinkMint;
  /** Where browsers on this machine reach this server, for where PUBLIC_URL does not say it. */
  readonly url: string;
}

export function startApprovalMessages(base: Base, { pool }: Store, { egress, identity, mint, url }: Parts): void {
  const { config, log, metrics, stops } = base;
  const channels = configuredChannels(config, egress, identity);
  if (channels.length === 0) return;
  const origin = (config.options.PUBLIC_URL ?? url).replace(/\/$/, '');
  const onTry = (channel: string, outcome: string) => metrics.approvalMessages.inc({ channel, outcome });
  const messenger = new Messenger({ pool, mint, channels, origin, pagePath: approvalPath, log, onTry });
  const stopJobs = startJobs(
    [
      { name: 'approval notices', everyMs: approvalMessageEveryMs, run: () => messenger.spread() },
      ...channels.map((channel) => ({
        name: `approval messages: ${channel.name}`,
        everyMs: approvalMessageEveryMs,
        run: () => messenger.send(channel),
      })),
      { name: 'purge approval messages', everyMs: purgeEveryMs, run: () => purgeMessages(pool, purgeBatchMax) },
    ],
    log,
  );
  stops.add('approval messages', async () => {
    messenger.stop();
    await stopJobs();
    for (const channel of channels) channel.close();
  });
}

/** @throws PortcullisError for a chat of a project that does not exist */
function configuredChannels({ options, file }: Config, egress: Egress, identity: IdentityIndex): Channel[] {
  const { SMTP_URL, MAIL_FROM } = options;
  const chats = Object.entries(file.approvals?.chats ?? {}).map(([name, { url, project, groups, person }]) => {
    const projectId = projectIdOf(identity, project, `portcullis.yaml: approvals.chats.${name}`);
    const audience: Audience =
      person === undefined ? { kind: 'readers', projectId, groups } : { kind: 'person', projectId, email: person };
    return createChat(egress, { name, url, audience });
  });
  return SMTP_URL !== null && MAIL_FROM !== null ? [createEmail({ ...SMTP_URL, from: MAIL_FROM }), ...chats] : chats;
}
