/** `npm run gen`: writes the OpenAPI document of everything that programs can call over HTTP. */
import { writeFileSync } from 'node:fs';
import { openApiPage } from './openapi/document.ts';

const { path, text } = openApiPage();
writeFileSync(path, text);
console.log(path);
