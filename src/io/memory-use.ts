import { readFile } from 'node:fs/promises';

/**
 * Anonymous resident memory of this process, in bytes: what it costs the machine. LevelDB maps its tables, and pages of a
 * mapped file are not counted. Where the system does not tell them apart, all resident memory.
 */
export async function anonymousMemoryBytes(): Promise<number> {
  try {
    const match = /^RssAnon:\s+(\d+) kB$/m.exec(await readFile('/proc/self/status', 'utf8'));
    if (match !== null) return Number(match[1]) * 1024;
  } catch {
    // Not Linux.
  }
  return process.memoryUsage.rss();
}
