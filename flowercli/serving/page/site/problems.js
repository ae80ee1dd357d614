/** What keeps a picture, or all of them, from an answer; the codes of pictures are those of `flowers classify --json`. */
export class Problem extends Error {
  /** @param {string} code stable, for programs. @param {object} [details] what the words for it mention. */
  constructor(code, details = {}) {
    super(code);
    this.code = code;
    this.details = details;
  }
}
