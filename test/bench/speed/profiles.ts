import { existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { Session, type Profiler } from 'node:inspector';
import { join } from 'node:path';
import { eventually } from '../../integration/processes.js';

export type StopProfile = () => Promise<Profiler.Profile>;

const SAMPLE_US = 500;
const HOTTEST = 10;

/** Begins a V8 CPU profile of this process. */
export function startProfile(): StopProfile {
  const session = new Session();
  session.connect();
  session.post('Profiler.enable');
  session.post('Profiler.setSamplingInterval', { interval: SAMPLE_US });
  session.post('Profiler.start');
  return () =>
    new Promise((resolve, reject) => {
      session.post('Profiler.stop', (error, { profile }) => {
        session.disconnect();
        if (error === null) resolve(profile);
        else reject(error);
      });
    });
}

/**
 * Profiles of this process and of a node (profile-on-signal.ts) while `work` runs, written to `folder` as NAME-client.cpuprofile
 * and NAME-node.cpuprofile, which Chrome's DevTools and speedscope open. Resolves with the dearest functions of both, in lines.
 */
export async function profileBoth(
  name: string,
  folder: string,
  nodePid: number,
  work: () => Promise<unknown>,
): Promise<string[]> {
  const fileOf = (side: string) => join(folder, `${name}-${side}.cpuprofile`);
  const writtenByNode = join(folder, 'node.cpuprofile');
  mkdirSync(folder, { recursive: true });
  const stop = startProfile();
  process.kill(nodePid, 'SIGUSR2');
  await work();
  process.kill(nodePid, 'SIGUSR2');
  const client = await stop();
  writeFileSync(fileOf('client'), JSON.stringify(client));
  await eventually('the node has written its profile', () => existsSync(writtenByNode));
  renameSync(writtenByNode, fileOf('node'));
  const node = JSON.parse(readFileSync(fileOf('node'), 'utf8')) as Profiler.Profile;
  return [
    `${name}, client (${fileOf('client')}):`,
    ...hottest(client),
    `${name}, node (${fileOf('node')}):`,
    ...hottest(node),
  ];
}

/** The profiler itself, in its first samples; a thread with nothing to do. */
const NOT_WORK = new Set(['dispatch', '(idle)']);

/** Functions by the time spent in themselves, of the time in which the main thread did something. */
function hottest({ nodes, samples = [], timeDeltas = [] }: Profiler.Profile): string[] {
  const byId = new Map(nodes.map((node) => [node.id, node.callFrame]));
  const spent = new Map<string, number>();
  let total = 0;
  for (const [at, id] of samples.entries()) {
    const frame = byId.get(id);
    if (frame === undefined || (frame.url === '' && NOT_WORK.has(frame.functionName))) continue;
    const file = frame.url.split('/').slice(-2).join('/');
    const place = file === '' ? '' : ` ${file}:${frame.lineNumber + 1}`;
    const what = `${frame.functionName === '' ? '(anonymous)' : frame.functionName}${place}`;
    const micros = timeDeltas[at] ?? 0;
    spent.set(what, (spent.get(what) ?? 0) + micros);
    total += micros;
  }
  return [...spent]
    .sort(([, a], [, b]) => b - a)
    .slice(0, HOTTEST)
    .map(([what, micros]) => `  ${((micros / total) * 100).toFixed(1).padStart(5)}%  ${what}`);
}
