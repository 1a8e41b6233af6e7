import { execFile } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { promisify } from 'node:util';

const run = promisify(execFile);

/** Ticks a second of the times in /proc: 100 on every Linux of today. */
const TICKS_PER_SECOND = 100;

/** Bytes that each of some processes has sent to the others. */
export type BytesSent = ReadonlyMap<number, number>;

interface Socket {
  readonly local: string;
  readonly remote: string;
  readonly pid: number;
  readonly sentBytes: number;
}

/**
 * What the processes have sent to each other over the TCP connections that they have now, as the kernel counts it: all of
 * HTTP/2 included, headers of TCP not. Undefined where `ss` of iproute2 is not there to tell.
 */
export async function bytesSentAmong(pids: readonly number[]): Promise<BytesSent | undefined> {
  let text: string;
  try {
    const options = { maxBuffer: 16 * 1024 * 1024 };
    ({ stdout: text } = await run('ss', ['-tinpHO', 'state', 'established'], options));
  } catch {
    return undefined;
  }
  const sockets = text.split('\n').flatMap(socketOf);
  const among = new Map<string, Socket>();
  for (const socket of sockets) {
    // Both ends: those of a server have the same local address.
    if (pids.includes(socket.pid)) among.set(`${socket.local} ${socket.remote}`, socket);
  }
  const sent = new Map(pids.map((pid) => [pid, 0]));
  for (const { pid, local, remote, sentBytes } of among.values()) {
    if (among.has(`${remote} ${local}`)) sent.set(pid, (sent.get(pid) ?? 0) + sentBytes);
  }
  return sent;
}

/** `0 0 127.0.0.1:4001 127.0.0.1:51234 users:(("node",pid=7,fd=23)) … bytes_acked:8398 …` */
function socketOf(line: string): Socket[] {
  const [, , local, remote] = line.trim().split(/\s+/);
  const pid = /pid=(\d+)/.exec(line)?.[1];
  if (local === undefined || remote === undefined || pid === undefined) return [];
  const sentBytes = Number(/bytes_acked:(\d+)/.exec(line)?.[1] ?? 0);
  return [{ local, remote, pid: Number(pid), sentBytes }];
}

/** Seconds of CPU that a process has used so far, in it and for it. */
export async function cpuSecondsOf(pid: number): Promise<number> {
  const text = await readFile(`/proc/${pid}/stat`, 'utf8');
  // The name may hold anything, but for the last closing bracket: the fields after it begin with the third.
  const fields = text.slice(text.lastIndexOf(')') + 2).split(' ');
  return (Number(fields[11]) + Number(fields[12])) / TICKS_PER_SECOND;
}

/** Memory of a process that belongs to it alone and to no file, which LevelDB's tables do: RssAnon of /proc/PID/status. */
export async function anonBytesOf(pid: number): Promise<number> {
  const text = await readFile(`/proc/${pid}/status`, 'utf8');
  return Number(/^RssAnon:\s+(\d+) kB$/m.exec(text)?.[1] ?? 0) * 1_024;
}

/** Seconds of CPU that all processes of the machine have used so far. */
export async function busySeconds(): Promise<number> {
  const text = await readFile('/proc/stat', 'utf8');
  // user, nice, system, idle, iowait, irq, softirq: all but those in which nothing runs.
  const [user = 0, nice = 0, system = 0, , , irq = 0, softirq = 0] = text
    .slice(0, text.indexOf('\n'))
    .split(/\s+/)
    .slice(1)
    .map(Number);
  return (user + nice + system + irq + softirq) / TICKS_PER_SECOND;
}
