'use strict';

// What `npm test` and `npm run cluster` run first: from a fresh clone to a built tree, with nothing but Node.js and npm.
// Plain CommonJS without dependencies, because it runs before anything is installed. Its syntax is that of Node.js 10, so that
// an old Node says the sentence below and not that it cannot read this file.

const [major, minor] = process.versions.node.split('.').map(Number);
if (major < 20 || (major === 20 && minor < 19)) {
  console.error(
    `Quorate needs Node.js 20.19 or newer, and this is ${process.version}: install a newer one from https://nodejs.org/.`,
  );
  process.exit(1);
}

const { execFileSync } = require('node:child_process');
const { createHash } = require('node:crypto');
const fs = require('node:fs');
const path = require('node:path');

const root = path.dirname(__dirname);
const inRoot = (...parts) => path.join(root, ...parts);

const LOCKFILE = inRoot('package-lock.json');
const INSTALLED = inRoot('node_modules', '.package-lock.json');
const PROTO = inRoot('proto', 'quorate.proto');
const GENERATED = inRoot('src', 'wire', 'generated');
const KVCTL = inRoot('dist', 'cli', 'kvctl.js');
/** What the last complete build was made from; written last, and removed before anything that it vouches for is touched. */
const STAMP = inRoot('dist', '.prepared.json');
const LOCK = inRoot('dist', '.prepare.lock');
/** No install takes this long; an older lock belongs to a process that is gone, whatever now has its id. */
const LOCK_LASTS_MS = 15 * 60 * 1000;

const SOURCE_FOLDERS = ['src', 'cli', 'cluster', 'test'];

/** A failure whose message is all that a person needs. */
class Stop extends Error {}

try {
  // Most runs find nothing to do and take no lock.
  if (!isInstalled() || !isBuilt()) {
    const unlock = lock();
    try {
      if (!isInstalled()) install();
      if (!isBuilt()) build();
    } finally {
      unlock();
    }
  }
} catch (error) {
  if (!(error instanceof Stop)) throw error;
  console.error(error.message);
  process.exitCode = 1;
}

// ---------------------------------------------------------------------------------------------------------------------
// Installing

/** npm writes what it installed to node_modules/.package-lock.json: all of the lockfile but its root entry. */
function isInstalled() {
  const wanted = packagesOf(LOCKFILE);
  if (wanted === undefined) {
    throw new Stop('package-lock.json cannot be read. Restore it: git checkout package-lock.json');
  }
  const present = packagesOf(INSTALLED);
  if (present === undefined) return false;
  return (
    Object.keys(present).every((name) => wanted[name] !== undefined) &&
    Object.keys(wanted).every((name) => name === '' || isInPlace(name, wanted[name], present[name]))
  );
}

function isInPlace(name, wanted, present) {
  // npm leaves out optional packages of other machines, and those that only such packages need.
  if (present === undefined) return wanted.optional === true && !isOfThisMachine(wanted);
  return (
    present.version === wanted.version &&
    present.integrity === wanted.integrity &&
    fs.existsSync(inRoot(name))
  );
}

/** Whether a package of one kind of machine is of this kind. One that names no kind is not counted as such. */
function isOfThisMachine({ os, cpu, libc }) {
  return (
    (os !== undefined || cpu !== undefined) &&
    (os === undefined || os.includes(process.platform)) &&
    (cpu === undefined || cpu.includes(process.arch)) &&
    (libc === undefined || libc.includes(libcOfThisMachine()))
  );
}

function libcOfThisMachine() {
  // Without this a report looks up the name of every open socket's peer.
  process.report.excludeNetwork = true;
  return process.report.getReport().header.glibcVersionRuntime === undefined ? 'musl' : 'glibc';
}

function packagesOf(file) {
  try {
    return JSON.parse(fs.readFileSync(file, 'utf8')).packages;
  } catch {
    return undefined;
  }
}

function install() {
  console.error('Installing what package-lock.json names (npm ci) ...');
  const npm = process.env.npm_execpath;
  const isNpm = npm !== undefined && path.basename(npm) === 'npm-cli.js';
  const [command, first] = isNpm ? [process.execPath, [npm]] : ['npm', []];
  try {
    execFileSync(command, [...first, 'ci', '--include=dev', '--no-audit', '--no-fund'], {
      cwd: root,
      stdio: ['ignore', 2, 2],
      // Elsewhere npm is a .cmd file, which only a shell starts.
      shell: !isNpm && process.platform === 'win32',
    });
  } catch {
    throw new Stop('Installing stopped: npm ci failed, see above.');
  }
}

// ---------------------------------------------------------------------------------------------------------------------
// Building

/** Nothing that a build reads has changed since the last one, deleted and renamed files included, and its output is there. */
function isBuilt() {
  let stamp;
  try {
    stamp = JSON.parse(fs.readFileSync(STAMP, 'utf8'));
  } catch {
    return false;
  }
  return (
    stamp.generatedFrom === generatorInputs() &&
    stamp.builtFrom === compilerInputs() &&
    missingOutputs().length === 0 &&
    orphans().length === 0
  );
}

function build() {
  console.error('Building ...');
  fs.rmSync(STAMP, { force: true });
  const generatedFrom = generatorInputs();
  generate(generatedFrom);
  fs.mkdirSync(inRoot('dist', 'proto'), { recursive: true });
  fs.copyFileSync(PROTO, inRoot('dist', 'proto', 'quorate.proto'));
  // A test whose source was deleted or renamed would still be run.
  for (const file of orphans()) fs.rmSync(file);
  // The compiler believes its build information, not the folder, about what it has written.
  if (missingOutputs().length > 0) fs.rmSync(inRoot('dist', '.tsbuildinfo'), { force: true });
  // Taken before compiling: what is saved meanwhile is compiled by the next run.
  const builtFrom = compilerInputs();
  try {
    run('typescript', 'tsc', ['-p', root]);
  } finally {
    if (fs.existsSync(KVCTL)) fs.chmodSync(KVCTL, 0o755);
  }
  fs.writeFileSync(STAMP, JSON.stringify({ generatedFrom, builtFrom }));
}

/** Makes the protobuf code from the wire's description, and gives it to the compiled tree, which tsc does not. */
function generate(generatedFrom) {
  const code = path.join(GENERATED, 'quorate.js');
  const types = path.join(GENERATED, 'quorate.d.ts');
  const madeFrom = path.join(GENERATED, 'made-from');
  if (!fs.existsSync(madeFrom) || fs.readFileSync(madeFrom, 'utf8') !== generatedFrom) {
    fs.rmSync(GENERATED, { recursive: true, force: true });
    fs.mkdirSync(GENERATED, { recursive: true });
    const shape = ['-t', 'static-module', '-w', 'esm', '--dependency', '../protobuf.js'];
    const without = ['create', 'verify', 'convert', 'delimited', 'typeurl', 'beautify', 'service'];
    const options = [...shape, '--force-number', ...without.map((part) => `--no-${part}`)];
    run('protobufjs-cli', 'pbjs', [...options, '-o', code, PROTO]);
    run('protobufjs-cli', 'pbts', ['-o', types, code]);
    const declared = fs.readFileSync(types, 'utf8');
    fs.writeFileSync(types, declared.replace('import Long = require("long");\n', ''));
    fs.writeFileSync(madeFrom, generatedFrom);
  }
  const compiled = inRoot('dist', 'src', 'wire', 'generated');
  fs.mkdirSync(compiled, { recursive: true });
  for (const file of [code, types]) {
    fs.copyFileSync(file, path.join(compiled, path.basename(file)));
  }
}

function generatorInputs() {
  const generator = inRoot('node_modules', 'protobufjs-cli', 'package.json');
  const hash = createHash('sha256');
  for (const file of [PROTO, __filename, generator]) hash.update(fs.readFileSync(file));
  return hash.digest('hex');
}

/** Names, sizes and times of all that the compiler reads, in one line. */
function compilerInputs() {
  const settings = [inRoot('tsconfig.json'), inRoot('package.json'), INSTALLED];
  const sources = SOURCE_FOLDERS.flatMap((folder) => filesUnder(inRoot(folder)));
  const hash = createHash('sha256');
  for (const file of [...settings, ...sources]) {
    const stat = fs.statSync(file, { throwIfNoEntry: false });
    if (stat === undefined) continue;
    hash.update(`${path.relative(root, file)}\0${stat.size}\0${stat.mtimeMs}\n`);
  }
  return hash.digest('hex');
}

/** Sources that have no compiled form. */
function missingOutputs() {
  return SOURCE_FOLDERS.flatMap((folder) => filesUnder(inRoot(folder)))
    .filter((file) => file.endsWith('.ts') && !file.endsWith('.d.ts'))
    .filter((file) => {
      const output = inRoot('dist', path.relative(root, file));
      return !fs.existsSync(output.replace(/\.ts$/, '.js'));
    });
}

/** Compiled files whose source is gone. */
function orphans() {
  return SOURCE_FOLDERS.flatMap((folder) => filesUnder(inRoot('dist', folder))).filter((file) => {
    const source = inRoot(path.relative(inRoot('dist'), file));
    return !fs.existsSync(source) && !fs.existsSync(source.replace(/\.(d\.ts|js)$/, '.ts'));
  });
}

/** Every file under a folder, in the order that the file system keeps; none when there is no such folder. */
function filesUnder(folder) {
  if (!fs.existsSync(folder)) return [];
  return fs.readdirSync(folder, { withFileTypes: true }).flatMap((entry) => {
    const file = path.join(folder, entry.name);
    return entry.isDirectory() ? filesUnder(file) : [file];
  });
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
    throw new Stop(`Building stopped: ${command} failed, see above.`);
  }
}

// ---------------------------------------------------------------------------------------------------------------------
// One at a time

/**
 * Waits until no other run installs or builds here, and keeps others out until the returned function is called. The lock
 * appears whole (a link to a written file), and a dead owner's is first moved aside, so that only one run can take it over.
 */
function lock() {
  fs.mkdirSync(path.dirname(LOCK), { recursive: true });
  const mine = `${LOCK}.${process.pid}`;
  fs.writeFileSync(mine, JSON.stringify({ pid: process.pid, sinceMs: Date.now() }));
  let told = false;
  try {
    while (!tryLink(mine)) {
      const owner = ownerOf(LOCK);
      if (owner !== undefined && isGone(owner)) {
        takeAside(owner);
        continue;
      }
      if (owner !== undefined && !told) {
        told = true;
        console.error(`Waiting for another run that installs or builds (process ${owner.pid}) ...`);
      }
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 100);
    }
  } finally {
    fs.rmSync(mine, { force: true });
  }
  return () => fs.rmSync(LOCK, { force: true });
}

function tryLink(mine) {
  try {
    fs.linkSync(mine, LOCK);
    return true;
  } catch (error) {
    if (error.code === 'EEXIST') return false;
    throw error;
  }
}

function takeAside(owner) {
  const aside = `${LOCK}.${process.pid}.aside`;
  try {
    fs.renameSync(LOCK, aside);
  } catch (error) {
    if (error.code === 'ENOENT') return;
    throw error;
  }
  const moved = ownerOf(aside);
  // Another run was quicker, and this is its live lock: it goes back.
  if (moved.pid !== owner.pid || moved.sinceMs !== owner.sinceMs) fs.linkSync(aside, LOCK);
  fs.rmSync(aside);
}

function ownerOf(file) {
  try {
    return JSON.parse(fs.readFileSync(file, 'utf8'));
  } catch (error) {
    if (error.code === 'ENOENT') return undefined;
    // A crash of the machine can leave it empty; whoever wrote it is gone then.
    if (error instanceof SyntaxError) return { pid: 0, sinceMs: 0 };
    throw error;
  }
}

function isGone({ pid, sinceMs }) {
  if (Date.now() - sinceMs > LOCK_LASTS_MS) return true;
  try {
    process.kill(pid, 0);
    return false;
  } catch (error) {
    return error.code === 'ESRCH';
  }
}
