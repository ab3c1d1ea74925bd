/** What an import found, in the words of the file that it read. */
export class Outcome {
  readonly mapped: { readonly from: string; readonly to: string }[] = [];
  readonly unmapped: { readonly what: string; readonly why: string }[] = [];
  /** What is left for a person to do: one sentence or command each. */
  readonly todo: string[] = [];

  map(from: string, to: string): void {
    this.mapped.push({ from, to });
  }

  /** Says of something that it has no counterpart. Values are never repeated: they may be secrets. */
  leave(what: string, why: string): void {
    this.unmapped.push({ what, why });
  }

  remind(sentence: string): void {
    if (!this.todo.includes(sentence)) this.todo.push(sentence);
  }
}
