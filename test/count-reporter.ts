import type { Reporter, SerializedError, TestModule } from 'vitest/node';

/**
 * Ends a run with one line of what really ran: `N passed, M failed`, and `, K skipped` when any were. A test file that could
 * not be loaded, a suite that failed around its tests and an error outside all tests count as one failure each, so a run
 * that fails never shows 0.
 */
export class CountReporter implements Reporter {
  onTestRunEnd(modules: readonly TestModule[], errors: readonly SerializedError[]): void {
    let [passed, failed, skipped] = [0, errors.length, 0];
    for (const module of modules) {
      failed += module.errors().length;
      for (const suite of module.children.allSuites()) failed += suite.errors().length;
      for (const { state } of [...module.children.allTests()].map((each) => each.result())) {
        if (state === 'passed') passed++;
        else if (state === 'failed') failed++;
        else skipped++;
      }
    }
    const counts = `${passed} passed, ${failed} failed${skipped === 0 ? '' : `, ${skipped} skipped`}`;
    process.stdout.write(`\n${counts}\n`);
  }
}
