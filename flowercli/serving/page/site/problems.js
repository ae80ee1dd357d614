/** One picture that cannot be answered; `code` is one of those that `flowers classify --json` uses. */
export class PictureProblem extends Error {
  /** @param {string} code stable, for programs. @param {object} [details] what the words for it mention. */
  constructor(code, details = {}) {
    super(code);
    this.code = code;
    this.details = details;
  }
}
