import { defineConfig } from 'vitest/config';
import { CountReporter } from './count-reporter.js';

// Tests run compiled, and dist/src and dist/cli are external to vitest: its own transform makes hot code ten times slower.
const external = [/\/dist\/(src|cli|cluster)\//];

export default defineConfig({
  test: {
    reporters: ['default', new CountReporter()],
    projects: [
      {
        test: {
          name: 'unit',
          include: ['dist/test/**/*.test.js'],
          exclude: ['dist/test/integration/**', 'dist/test/bench/**'],
          isolate: false,
          // A slow machine is not a failure: only what never ends is.
          testTimeout: 60_000,
          hookTimeout: 60_000,
          server: { deps: { external } },
        },
      },
      {
        test: {
          name: 'integration',
          include: ['dist/test/integration/**/*.test.js'],
          isolate: true,
          fileParallelism: false,
          testTimeout: 60_000,
          hookTimeout: 60_000,
          server: { deps: { external } },
        },
      },
    ],
  },
});
