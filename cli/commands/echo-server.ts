import { once } from 'node:events';
import { Command } from 'commander';
import { writeData } from '../output.js';

/** What `bench --echo` starts: echoes until its standard input ends. */
export function echoServerCommand(): Command {
  return new Command('echo-server').action(async () => {
    const { startEchoServer } = await import('../../src/wire/echo.js');
    const server = await startEchoServer();
    await writeData(`${server.endpoint}\n`);
    process.stdin.resume();
    await once(process.stdin, 'end');
    server.close();
  });
}
