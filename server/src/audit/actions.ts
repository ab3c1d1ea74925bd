/** Every action that the audit log can hold, with what it means; `docs/reference/audit.md` is generated from here. */
export const auditActions = {
  'project.created': 'A project was made.',
  'project.updated': 'A project was changed. The payload has before and after.',
  'person.created': 'A person was added.',
  'person.updated':
    'The name, roles or teams of a person were changed, by hand or by signing in. The payload has before and after.',
  'person.disabled':
    'A person was disabled; their sessions and logins end, and their keys and those of their agents stop.',
  'person.enabled':
    'A person was enabled again; their keys and those of their agents work again, and they may sign in.',
  'team.created': 'A team was made.',
  'team.renamed': 'A team got another name.',
  'team.deleted': 'A team was ended; nobody belongs to it any more.',
  'session.started': 'Somebody signed in. The payload has how, from where, and the key that was used.',
  'session.ended':
    'A session was ended: by signing out, by signing in anew or too often, by an operator, or with the person or their roles. The payload has how.',
  'login.approved':
    'A person confirmed a login of a command line. The payload has what asked, from where, and the scopes.',
  'login.denied':
    'A person said that a login of a command line is not theirs. The payload has what asked, and from where.',
  'login.started': 'A command line that a person had confirmed was logged in. The payload has its scopes.',
  'login.ended':
    'A login of a command line was ended: by logging out, by its person or an operator, by one too many, or since a credential that was used before came back. The payload has how, and the keys of agents that it made, which stay.',
  'token.issued':
    'A key of at most an hour was issued: to a login, or to an agent for a token of its issuer. The payload has its scopes and expiry, never the secret.',
  'agent.created': 'An agent was registered.',
  'agent.disabled': 'An agent was disabled; its keys stop and its calls in flight end.',
  'key.created': 'An API key was issued. The payload has its scopes and expiry, never the secret.',
  'key.rotated': 'A key got a successor; the old one works until the stated end of the overlap.',
  'key.revoked': 'A key was revoked; calls in flight with it end.',
  'key.first_used': 'A key was used for the first time.',
  'signing_key.registered': 'An API key got a key for signatures. The payload has the public key, where there is one.',
  'signing_key.revoked': 'A key for signatures was revoked: what it signs no longer holds.',
  'credential.refused':
    'A credential did not hold: the first time verbatim, then one entry with a count per address prefix, reason and minute.',
  'scope.denied': 'A good credential lacked the scope of the operation.',
  'call.denied':
    'A rule, an allow-list or an unknown price refused a call: the first time verbatim, then counted per principal, rule and minute.',
  'budget.refused': 'A budget refused a call: the first time verbatim, then counted per budget, principal and minute.',
  'budget.created': 'A budget was made.',
  'budget.updated': 'A budget was changed. The payload has before and after.',
  'budget.deleted': 'A budget was ended.',
  'budget.threshold_reached':
    'What was spent of a budget reached a percent of its limit: once for each window and percent.',
  'kill.engaged': 'A kill switch was engaged.',
  'kill.released': 'A kill switch was released.',
  'kill.release_asked':
    'One of the two people who release the switch for everything asked for it; another must confirm before the payload says.',
  'kill.drilled': 'A drill: replicas said what a kill switch would have stopped, and stopped nothing.',
  'policy.version_created':
    'A version of a policy was made. The payload has its digest, that of the document in force, and what differs.',
  'policy.put_in_force':
    'A version of a policy was put in force, its caps with it. The payload has both digests and what differs.',
  'policy.shadow_changed': 'Another version of a policy, or none, judges beside the one in force.',
  'run.started': 'A run was started.',
  'run.finished': 'A run was finished.',
  'prompt.registered': 'A version of a prompt was registered. The payload has its label and digest.',
  'prompt.confirmed':
    'The label of a version, which somebody else registered, may be seen by strangers from now on. Where nobody had confirmed another one, it took its place.',
  'prompt.displaced':
    'A version whose label nobody had confirmed gave it up to another version, and is called by its digest.',
  'workflow.published':
    'A workflow was put on the public leaderboard, or got another title there. The payload has the title.',
  'workflow.unpublished': 'A workflow was taken off the public leaderboard.',
  'task.created': 'A task of the journal was made.',
  'task.updated': 'A task was changed. The payload has what changed, with before and after of all but the details.',
  'task.deleted': 'A task was deleted. The payload has its title and status.',
  'note.created': 'A note of the journal was made.',
  'note.deleted': 'A note was deleted. The payload has its title.',
  'changelog.appended': 'An entry was appended to the changelog. The payload has its category.',
  'export.begun': 'What a project holds, or some kinds of it, began to be exported, or went on to be.',
  'export.ended':
    'A stream of an export ended. The payload has how many records it told, and whether they were the last.',
  'bill.imported': "Figures of a provider's bill were imported. The payload has the digest of what was imported.",
  'reconciliation.drifted':
    "A provider's bill of a day differs from the ledger by more than is tolerated: for each day and matching that says so anew.",
  'config.loaded': 'The configuration file was read at start or reloaded. The payload has its digest.',
  'server.started': 'A gate process started.',
  'server.stopped': 'A gate process stopped cleanly.',
  'ledger.day_dropped':
    'A day of the ledger was over and was dropped. The payload has how many rows it had and what they cost.',
  'telemetry.day_dropped':
    'A day of events or benchmarks was over and was dropped. The payload has the table and how many rows it had.',
  'metrics.read': 'Metrics were read; counted per principal and minute.',
} as const;

export type AuditAction = keyof typeof auditActions;
