/** Every action that the audit log can hold, with what it means; `docs/reference/audit.md` is generated from here. */
export const auditActions = {
  'project.created': 'A project was made.',
  'project.updated': 'A project was changed. The payload has before and after.',
  'person.created': 'A person was added.',
  'person.disabled': 'A person was disabled; the keys of their agents stop.',
  'agent.created': 'An agent was registered.',
  'agent.disabled': 'An agent was disabled; its keys stop and its calls in flight end.',
  'key.created': 'An API key was issued. The payload has its scopes and expiry, never the secret.',
  'key.rotated': 'A key got a successor; the old one works until the stated end of the overlap.',
  'key.revoked': 'A key was revoked; calls in flight with it end.',
  'key.first_used': 'A key was used for the first time.',
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
  'run.started': 'A run was started.',
  'run.finished': 'A run was finished.',
  'bill.imported': "Figures of a provider's bill were imported. The payload has the digest of what was imported.",
  'reconciliation.drifted':
    "A provider's bill of a day differs from the ledger by more than is tolerated: for each day and matching that says so anew.",
  'config.loaded': 'The configuration file was read at start or reloaded. The payload has its digest.',
  'server.started': 'A gate process started.',
  'server.stopped': 'A gate process stopped cleanly.',
  'ledger.day_dropped':
    'A day of the ledger was over and was dropped. The payload has how many rows it had and what they cost.',
  'metrics.read': 'Metrics were read; counted per principal and minute.',
} as const;

export type AuditAction = keyof typeof auditActions;
