/** The page: where pictures come from, what answers, and where the answers go. */

import { Engine } from './engine.js';
import { announce, byId } from './elements.js';
import { listen } from './intake.js';
import { keepHere } from './keep.js';
import { Only } from './only.js';
import { Pictures } from './pictures.js';
import { words } from './strings.js';

byId('not-started').remove();

const only = new Only(() => pictures.answerAgain());
const engine = new Engine(only);
const pictures = new Pictures((file, found) => engine.classify(file, found), (outputs) => engine.answer(outputs));

listen(byId('intake'), [byId('choose'), byId('photograph')], (files) => {
  if (files.length > 0) pictures.add(files);
  else announce(words.nothingDropped);
});

byId('key-form').addEventListener('submit', (event) => {
  event.preventDefault();
  pictures.again(['no_key', 'wrong_key']);
});

byId('use-server').addEventListener('change', ({ target }) => {
  if (target.checked) pictures.again(['not_supported']);
});

await engine.start();
await keepHere();
