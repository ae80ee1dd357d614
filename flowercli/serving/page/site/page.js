/** The page: where pictures come from, what answers, and where the answers go. */

import { Engine } from './engine.js';
import { byId } from './elements.js';
import { listen } from './intake.js';
import { Pictures, say } from './pictures.js';
import { words } from './strings.js';

byId('not-started').remove();

const engine = new Engine();
const pictures = new Pictures((file) => engine.classify(file));

listen(byId('intake'), [byId('choose'), byId('photograph')], (files) => {
  if (files.length > 0) pictures.add(files);
  else say(words.nothingDropped);
});

engine.start();
