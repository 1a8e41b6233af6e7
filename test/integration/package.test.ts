import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { dirname, join, normalize } from 'node:path';
import { fileURLToPath } from 'node:url';
import { beforeAll, describe, expect, test } from 'vitest';

const ROOT = fileURLToPath(new URL('../../../', import.meta.url));

describe('the package that npm pack makes', () => {
  let files: string[];

  beforeAll(() => {
    const json = execFileSync('npm', ['pack', '--dry-run', '--json', '--ignore-scripts'], {
      cwd: ROOT,
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'ignore'],
    });
    const [pack] = Object.values(JSON.parse(json) as Record<string, { files: { path: string }[] }>);
    files = pack?.files.map(({ path }) => path) ?? [];
  });

  test('holds code, the proto file, the README and the manifest, and nothing else', () => {
    const superfluous = files.filter(
      (file) =>
        !/^dist\/(?:src|cli)\/.*\.js$|^dist\/src\/.*\.d\.ts$/.test(file) &&
        !['dist/proto/quorate.proto', 'README.md', 'package.json'].includes(file),
    );
    expect(superfluous).toEqual([]);
    for (const needed of ['dist/src/index.js', 'dist/cli/kvctl.js', 'dist/proto/quorate.proto']) {
      expect(files).toContain(needed);
    }
  });

  test('holds the declarations that users reach, and no others', () => {
    const reached = new Set<string>();
    const follow = (file: string): void => {
      if (reached.has(file)) return;
      reached.add(file);
      const text = readFileSync(join(ROOT, file), 'utf8');
      for (const [, target = ''] of text.matchAll(/from '(\.[^']+)\.js'/g)) {
        follow(normalize(join(dirname(file), `${target}.d.ts`)));
      }
    };
    follow('dist/src/index.d.ts');
    expect(files.filter((file) => file.endsWith('.d.ts')).toSorted()).toEqual(
      [...reached].toSorted(),
    );
  });
});
