/** `npm run gen`: writes the reference page of the translation, from the cells that `test/conformance` proves. */
import { writeFileSync } from 'node:fs';
import { conformancePage } from '../test/conformance/page.ts';

const { path, text } = conformancePage();
writeFileSync(path, text);
console.log(path);
