/** Markup that is safe to send: made by {@link html} alone. */
export class Html {
  readonly text: string;

  /** @param text markup; what comes from elsewhere was escaped */
  constructor(text: string) {
    this.text = text;
  }
}

type Value = string | number | Html | null | false | readonly Html[];

const entities: Readonly<Record<string, string>> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  "'": '&#39;',
};

/**
 * A template of markup. Everything put into it is escaped, for text and for attributes in quotes, unless it is markup
 * itself; null and false are nothing.
 */
export function html(parts: TemplateStringsArray, ...values: readonly Value[]): Html {
  return new Html(parts.reduce((text, part, at) => text + markup(values[at - 1] ?? null) + part));
}

function markup(value: Value): string {
  if (value === null || value === false) return '';
  if (value instanceof Html) return value.text;
  if (typeof value === 'object') return value.map(({ text }) => text).join('');
  return String(value).replace(/[&<>"']/g, (character) => entities[character] ?? '');
}
