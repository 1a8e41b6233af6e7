import { parentPort } from 'node:worker_threads';
import { runAndTell, type Job } from './simulate.js';

/** One thread of many runs: does those that it is sent, one after another. */
if (parentPort === null) throw new Error('this runs in a worker thread');
const port = parentPort;

async function answer(job: Job): Promise<void> {
  port.postMessage(await runAndTell(job));
}

port.on('message', (job: Job) => void answer(job));
