/** Every word that the page says, in one place. */

const oneDigit = new Intl.NumberFormat('en', { maximumFractionDigits: 1 });
const list = new Intl.ListFormat('en', { type: 'conjunction' });
// As many names fit on a line.
const FEW = 6;
const whole = new Intl.NumberFormat('en', { maximumFractionDigits: 0 });

/** A share as the command line writes it, too: 97.5 %. */
const percent = (value, format = oneDigit) => `${format.format(100 * value)}\u00a0%`;

/** A share as a percentage that claims neither certainty nor impossibility. */
export function share(value) {
  if (value > 0.999) return `>${percent(0.999)}`;
  return value < 0.001 ? `<${percent(0.001)}` : percent(value);
}

const wholePercent = (value) => percent(value, whole);

/** A class name as people write it: `lily_of_the_valley` is three spaces away. */
export const flower = (name) => name.replaceAll('_', ' ');

export const title = (name) => flower(name).replace(/^./, (first) => first.toUpperCase());

export const words = {
  getting: (part) => `Getting the model: ${percent(Math.floor(part * 100) / 100)}`,
  opening: 'Getting the model ready…',
  ready: 'Ready.',
  readyOnServer: 'Ready, on the server.',
  knows: (count, served) => `It ${served ? 'answers about' : 'knows'} ${count} flowers: ask about some of them only`,
  askedAbout: (names, count) => `Asked about ${names.length} of ${count} flowers only${names.length > FEW ? '' : `: ${list.format(names.map(flower))}`}`,
  notOffered: (names) => `The address asks about ${list.format(names)}, which I do not know.`,
  onDevice: 'Pictures stay on this device.',
  onServer: (host) => `Each picture is sent to ${host}, which answers and does not keep it.`,
  kept: 'The page is kept here too, and works without a network.',
  serverInstead: 'The server answers instead.',
  cannot: 'Not ready.',
  cannotBecause: {
    not_installed: 'This page came without the part that answers on your device.',
    not_loaded: 'The model could not be fetched. Reload the page to try again.',
    failed: 'This browser cannot run the model. A newer one may.',
  },

  waiting: 'Waiting…',
  looking: 'Looking…',
  sure: (value) => `${share(value)} sure`,
  unsure: 'Not sure',
  unsureMore: (name, value) => `Most like ${flower(name)}, ${wholePercent(value)}.`,
  unknown: ({ count, chosen }) => `None of the ${count} flowers ${chosen ? 'asked about' : 'I know'}`,
  unknownMore: (name, value) => `The nearest is ${flower(name)}, ${wholePercent(value)}.`,
  problem: 'No answer',
  remove: (name) => `Remove ${name}`,
  photograph: (name) => `The picture ${name}`,
  pasted: (number) => `pasted picture ${number}`,

  count: (done, all, problems) => `${done < all ? `${done} of ${all}` : all}${problems ? `, ${problems} without an answer` : ''}`,
  csvName: 'flowers.csv',

  saidAnswer: (file, answer) => `${file}: ${answer.replace(/\.$/, '')}.`,
  saidMany: (count, problems) => `${count} pictures answered${problems ? `, ${problems} of them could not be read` : ''}.`,
  saidStart: (count) => (count === 1 ? 'One picture added.' : `${count} pictures added.`),
  saidFound: (count) => (count === 1 ? 'One flower.' : `${count} flowers.`),
  saidOnly: (what, count) => `${what}. ${count === 0 ? '' : count === 1 ? 'One picture is answered again.' : `${count} pictures are answered again.`}`.trim(),
  saidRemoved: (name) => `${name} removed.`,
  saidCleared: 'All pictures removed.',
  saidAgain: (count) => (count === 1 ? 'One picture is sent again.' : `${count} pictures are sent again.`),
  nothingDropped: 'There was no picture in that.',
};

/** Why a picture has no answer, by the code that `flowers classify --json` would give, or one of the page's own. */
const PROBLEMS = {
  empty: () => 'It is empty: 0 bytes.',
  not_an_image: () => 'It is not a picture in a format that can be read.',
  truncated: () => 'It is cut off: the end of the file is missing. Copy or download it again.',
  too_large: ({ megapixels, limit, megabytes }) => {
    const size = megapixels ? `${whole.format(megapixels)} megapixels, the limit is ${whole.format(limit)}` : megabytes && `${whole.format(megabytes)} MB`;
    return `It is too large${size ? `: ${size}` : ''}. A smaller copy will do.`;
  },
  unreadable: () => 'It is damaged and cannot be read.',
  not_found: () => 'It is not there any more, or may not be read.',
  not_supported: ({ kind, server }) => {
    const before = `This browser cannot read ${kind === 'heic' ? 'HEIC' : 'TIFF'} pictures.`;
    return `${before} ${server ? 'Turn on “Use the server” to send it there, or save' : 'Save'} it as JPEG and try again.`;
  },
  needs_heif: () => 'This server has nothing that reads HEIC pictures. Save it as JPEG and try again.',
  failed: () => 'Something went wrong with this one.',
  nothing: () => 'There is nothing here that could answer.',
  out_of_memory: () => 'It needs more memory than there is.',
  offline: () => 'The server cannot be reached.',
  no_key: () => 'The server asks for its key. Type it above, and this picture is sent.',
  wrong_key: () => 'The server does not know this key. Type it again above, and this picture is sent once more.',
  refused: ({ message }) => message ?? 'The server refused it.',
};

export function problem(code, details = {}) {
  return (PROBLEMS[code] ?? PROBLEMS[details.message ? 'refused' : 'failed'])(details);
}
