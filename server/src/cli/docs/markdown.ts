const generated = '<!-- Generated from source by `npm run gen`. Do not edit. -->';

/** A whole generated page. */
export function page(title: string, intro: string, ...blocks: string[]): string {
  return `${[generated, `# ${title}`, intro, ...blocks].join('\n\n')}\n`;
}

/** A table; cells are Markdown. */
export function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]) =>
    `| ${cells.map((cell) => cell.replaceAll('|', '\\|').replaceAll('\n', ' ')).join(' | ')} |`;
  return [line(head), line(head.map(() => '---')), ...rows.map(line)].join('\n');
}
