import { parseArgs } from 'node:util';
import { BenchCluster, keyOf, valueFor } from './repair/bench-cluster.js';
import { mostPutsPerSecond } from './repair/foreground.js';
import { MEASURES, type Figure } from './repair/measures.js';

// How three nodes on this machine, each a process of its own, mend themselves: the figures of DESIGN section 7 in use.
//
// Usage: npm run bench:repair -- [--only idle,diverged,foreground,missed,refill,trees] [--keys 200000] [--value-bytes 256]
//          [--diverged 10000] [--down-seconds 60] [--idle-seconds 20] [--rate WRITES_A_SECOND] [--json]
//
// Progress goes to standard error, the table (or with --json the figures) to standard output. It ends what it started.

const { values: options } = parseArgs({
  options: {
    only: { type: 'string', default: Object.keys(MEASURES).join(',') },
    keys: { type: 'string', default: '200000' },
    'value-bytes': { type: 'string', default: '256' },
    diverged: { type: 'string', default: '10000' },
    'down-seconds': { type: 'string', default: '60' },
    'idle-seconds': { type: 'string', default: '20' },
    rate: { type: 'string' },
    json: { type: 'boolean', default: false },
  },
});

/** Of the most puts that the machine takes. */
const WRITES_SHARE = 0.2;
/** The same of gets and puts that begin one by one, on schedule: each costs several times what it costs among many others. */
const SERVED_SHARE = 0.04;

const names = options.only.split(',');
const unknown = names.filter((name) => !(name in MEASURES));
if (unknown.length > 0) throw new Error(`no measure is called ${unknown.join(' or ')}`);

const startedMs = performance.now();
const tell = (progress: string): void => {
  const seconds = ((performance.now() - startedMs) / 1_000).toFixed(1).padStart(7);
  process.stderr.write(`${seconds} s  ${progress}\n`);
};

const keys = Number(options.keys);
const valueBytes = Number(options['value-bytes']);
tell('starting three nodes');
const cluster = await BenchCluster.start();
const end = async (): Promise<void> => cluster[Symbol.asyncDispose]();
for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  process.once(signal, () => {
    void end().finally(() => process.exit(1));
  });
}

const figures: Figure[] = [];
try {
  tell(`writing ${keys} keys of ${valueBytes} bytes, the first being ${keyOf(0).toString()}`);
  await cluster.load(0, keys, valueFor(0, valueBytes));
  const most = await mostPutsPerSecond(cluster.kv, valueBytes);
  tell(`the machine takes ${Math.round(most)} puts a second`);
  const setting = {
    cluster,
    keys,
    valueBytes,
    diverged: Number(options.diverged),
    downSeconds: Number(options['down-seconds']),
    idleSeconds: Number(options['idle-seconds']),
    writesPerSecond: Math.round(Number(options.rate ?? WRITES_SHARE * most)),
    servedPerSecond: Math.round(SERVED_SHARE * most),
    tell,
  };
  for (const [name, measure] of Object.entries(MEASURES)) {
    if (!names.includes(name)) continue;
    try {
      figures.push(...(await measure(setting)));
    } catch (error) {
      const what = error instanceof Error ? error.message : String(error);
      figures.push({ measure: name, what, value: 'failed', unit: '', isMet: false });
    }
  }
} finally {
  await end();
}
tell('done');
if (options.json) console.log(JSON.stringify(figures, undefined, 2));
else for (const figure of figures) console.log(lineOf(figure));

function lineOf({ measure, what, value, unit, target, isMet }: Figure): string {
  const verdict = isMet === undefined ? '' : isMet ? 'met' : 'MISSED';
  const columns = [measure.padEnd(11), what.padEnd(52), `${value} ${unit}`.padEnd(20)];
  return [...columns, (target ?? '').padEnd(18), verdict].join(' ').trimEnd();
}
