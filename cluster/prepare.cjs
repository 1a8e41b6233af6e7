'use strict';

// What `npm test` and `npm run cluster` run first: from a fresh clone to a built tree, with nothing but Node.js and npm.
// Plain CommonJS without dependencies, because it runs before anything is installed and on whatever Node is there.

var nodeVersion = process.versions.node.split('.').map(Number);
if (nodeVersion[0] < 20 || (nodeVersion[0] === 20 && nodeVersion[1] < 19)) {
  console.error(
    'Quorate needs Node.js 20.19 or newer, and this is ' +
      process.version +
      '. Install a newer one from https://nodejs.org/.',
  );
  process.exit(1);
}

const { execFileSync } = require('node:child_process');
const fs = require('node:fs');
const path = require('node:path');

const root = path.dirname(__dirname);
const inRoot = (...parts) => path.join(root, ...parts);

install();
build();

/** npm writes what it installed to node_modules/.package-lock.json: all of the lockfile but its root entry. */
function install() {
  if (fs.existsSync(inRoot('node_modules', '.package-lock.json'))) {
    const wanted = packagesOf(inRoot('package-lock.json'));
    const present = packagesOf(inRoot('node_modules', '.package-lock.json'));
    const missing = Object.keys(wanted).some(
      (name) =>
        name !== '' &&
        present[name]?.version !== wanted[name].version &&
        !(wanted[name].optional === true && present[name] === undefined),
    );
    if (!missing && Object.keys(present).every((name) => wanted[name] !== undefined)) return;
  }
  console.error('Installing what package-lock.json names (npm ci) ...');
  // npm is a .cmd file on Windows, which only a shell starts.
  execFileSync('npm', ['ci', '--include=dev', '--no-audit', '--no-fund'], {
    cwd: root,
    stdio: ['ignore', 2, 2],
    shell: process.platform === 'win32',
  });
}

function packagesOf(file) {
  return JSON.parse(fs.readFileSync(file, 'utf8')).packages;
}

function build() {
  const generated = inRoot('src', 'wire', 'generated');
  const proto = inRoot('proto', 'quorate.proto');
  const code = path.join(generated, 'quorate.js');
  if (!isNewer(code, proto) || !isNewer(code, __filename)) {
    fs.mkdirSync(generated, { recursive: true });
    const options = [
      '-t',
      'static-module',
      '-w',
      'esm',
      '--force-number',
      '--no-create',
      '--no-verify',
      '--no-convert',
    ];
    options.push(
      '--no-delimited',
      '--no-typeurl',
      '--no-beautify',
      '--no-service',
      '--dependency',
      '../protobuf.js',
    );
    run('protobufjs-cli', 'pbjs', [...options, '-o', code, proto]);
    const types = path.join(generated, 'quorate.d.ts');
    run('protobufjs-cli', 'pbts', ['-o', types, code]);
    fs.writeFileSync(
      types,
      fs.readFileSync(types, 'utf8').replace('import Long = require("long");\n', ''),
    );
  }
  run('typescript', 'tsc', ['-p', root]);
  const built = inRoot('dist', 'src', 'wire', 'generated');
  fs.mkdirSync(built, { recursive: true });
  for (const name of ['quorate.js', 'quorate.d.ts'])
    fs.copyFileSync(path.join(generated, name), path.join(built, name));
  fs.mkdirSync(inRoot('dist', 'proto'), { recursive: true });
  fs.copyFileSync(proto, inRoot('dist', 'proto', 'quorate.proto'));
  const kvctl = inRoot('dist', 'cli', 'kvctl.js');
  if (fs.existsSync(kvctl)) fs.chmodSync(kvctl, 0o755);
}

function isNewer(output, input) {
  return fs.existsSync(output) && fs.statSync(output).mtimeMs >= fs.statSync(input).mtimeMs;
}

function run(packageName, command, args) {
  const folder = inRoot('node_modules', packageName);
  const manifest = JSON.parse(fs.readFileSync(path.join(folder, 'package.json'), 'utf8'));
  try {
    execFileSync(process.execPath, [path.join(folder, manifest.bin[command]), ...args], {
      cwd: root,
      stdio: ['ignore', 2, 2],
    });
  } catch {
    console.error(`Building stopped: ${command} failed, see above.`);
    process.exit(1);
  }
}
