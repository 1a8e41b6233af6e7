/** What a person can mend. Its message says what happened and what to do; nothing else is printed of it. */
export class Problem extends Error {
  override readonly name = 'Problem';

  /** Exit codes are those of kvctl: 1 an error, 2 usage, 5 something that should run does not. */
  constructor(
    message: string,
    readonly exitCode: 1 | 2 | 5 = 1,
  ) {
    super(message);
  }
}
