import { type OptionName, optionAliases, options, unreadNames } from '../../config/options.ts';
import { page, table } from './markdown.ts';

function optionEntries(): [OptionName, (typeof options)[OptionName]][] {
  return Object.entries(options) as [OptionName, (typeof options)[OptionName]][];
}

/** `docs/reference/config.md`: the environment. */
export function optionsPage(): string {
  const groups = [...new Set(optionEntries().map(([, { group }]) => group))];
  const blocks = groups.flatMap((group) => [
    `## ${group}`,
    table(
      ['name', 'default', 'meaning'],
      optionEntries()
        .filter(([, option]) => option.group === group)
        .map(([name, { fallback, doc, secret }]) => [
          secret ? `\`${name}\`, \`${name}_FILE\`` : `\`${name}\``,
          fallback === null || fallback === '' ? '' : `\`${fallback}\``,
          doc,
        ]),
    ),
  ]);
  return page(
    'Configuration',
    'Read from the environment, from `./.env` outside production, and for secrets also from the file that `NAME_FILE` names. What is wrong is listed at start, all of it at once; `portcullis config check` says the same.',
    ...blocks,
    '## Other names',
    table(
      ['name', 'meaning'],
      [
        ...Object.entries(optionAliases).map(([alias, { name }]) => [`\`${alias}\``, `Read as \`${name}\`.`]),
        ...Object.entries(unreadNames).map(([name, note]) => [`\`${name}\``, `Not read: ${note}.`]),
      ],
    ),
  );
}

/** `.env.example`. */
export function envExample(): string {
  const lines = [
    '# Every option, with its default. Generated from source by `npm run gen`; copy to .env and uncomment what you need.',
    '',
  ];
  for (const [name, { fallback, doc }] of optionEntries()) lines.push(`# ${doc}`, `# ${name}=${fallback ?? ''}`, '');
  return `${lines.join('\n').trimEnd()}\n`;
}
