import { createNode, type Node, type NodeIdentity } from '../../src/node.js';
import { silentLog, type Log } from '../../src/io/log.js';
import type { Defect } from './defect.js';
import type { SimDisk } from './disk.js';
import type { Kernel } from './kernel.js';
import { serveNodeCall, type NodeMessage } from './link-port.js';
import type { Network } from './network.js';
import { createSimPeer, servePeerCall, type PeerMessage } from './peer-port.js';
import { SimProcess, type MachineClock } from './process.js';
import type { Stream } from './seed.js';

/** How long the world waits before it tries again to start a node that could not be. */
const START_AGAIN_MS = 500;

/** Everything of one machine that runs a node: what stays (disk, clock) and what comes and goes (its process). */
export interface MachineParts {
  readonly kernel: Kernel;
  readonly network: Network;
  readonly disk: SimDisk;
  readonly clock: MachineClock;
  readonly random: Stream;
  readonly host: number;
  readonly identity: NodeIdentity;
  readonly hostOf: (address: string) => number | undefined;
  readonly defect: Defect | undefined;
  /** Sees every stamp that the node gives to a write that came without one. */
  readonly onStamp: (version: string) => void;
}

export class SimNode {
  readonly id: string;
  readonly parts: MachineParts;
  /** Undefined while it is down. */
  process: SimProcess | undefined;
  /** Undefined while it is down or starting. */
  node: Node | undefined;
  #lives = 0;
  /** Whether it is meant to run, whatever it does now. */
  #wanted = false;

  constructor(parts: MachineParts) {
    this.id = parts.identity.node;
    this.parts = parts;
  }

  get disk(): SimDisk {
    return this.parts.disk;
  }

  get clock(): MachineClock {
    return this.parts.clock;
  }

  get host(): number {
    return this.parts.host;
  }

  /** Starts a process, and another one when the first cannot open the disk. */
  start(): void {
    this.#wanted = true;
    if (this.process !== undefined) return;
    const { kernel, clock, random } = this.parts;
    this.#lives++;
    const process = new SimProcess(kernel, this.id, this.host, clock, random);
    this.process = process;
    process.say(`starts for the ${this.#lives}. time`);
    void this.#run(process);
  }

  async #run(process: SimProcess): Promise<void> {
    let node: Node;
    try {
      node = await createNode(this.parts.identity, this.#portsOf(process));
    } catch (error) {
      if (!process.alive) return;
      process.say(`cannot start: ${String(error)}`);
      this.#kill(process, false);
      this.parts.kernel.schedule(START_AGAIN_MS, undefined, () => {
        if (this.#wanted) this.start();
      });
      return;
    }
    if (process.alive) this.#serve(process, node);
  }

  /** Ends the process where it stands. With `power` the machine loses what was not synced or still on its way out. */
  crash(power: boolean): void {
    this.#wanted = false;
    if (this.process === undefined) return;
    this.process.say(power ? 'loses power' : 'is killed');
    this.#kill(this.process, power);
  }

  #kill(process: SimProcess, power: boolean): void {
    process.kill(power);
    this.process = undefined;
    this.node = undefined;
    this.disk.crash(power);
    this.parts.network.died(process);
  }

  /** Lets it finish, as a person does who restarts it. */
  stop(graceMs: number): void {
    const { process, node } = this;
    if (process === undefined || node === undefined) return;
    this.#wanted = false;
    this.node = undefined;
    process.say('is stopping');
    void this.#end(process, node, graceMs);
  }

  async #end(process: SimProcess, node: Node, graceMs: number): Promise<void> {
    try {
      await node.stop(graceMs);
    } catch (error) {
      process.say(`cannot stop cleanly: ${String(error)}`);
    }
    if (!process.alive) return;
    process.say('has stopped');
    this.#kill(process, false);
    if (this.#wanted) this.start();
  }

  pause(): void {
    if (this.process === undefined) return;
    this.process.say('is paused');
    this.process.pause();
    this.parts.network.paused(this.process);
  }

  resume(): void {
    this.process?.resume();
  }

  #portsOf(process: SimProcess): Parameters<typeof createNode>[1] {
    const { network, clock, random, disk, hostOf, defect } = this.parts;
    const opener = disk.opener(process);
    return {
      clock,
      timers: process.timers,
      random,
      log: logOf(process),
      opener: defect?.store?.(opener, process) ?? opener,
      peerTo: (member, events) => {
        const host = hostOf(member.address);
        if (host === undefined) throw new Error(`no machine has the address ${member.address}`);
        const peer = createSimPeer(member.id, process, network.open(process, host, 'peer'), events);
        return defect?.peer?.(peer, process) ?? peer;
      },
    };
  }

  #serve(process: SimProcess, node: Node): void {
    this.node = node;
    const { network, defect, onStamp } = this.parts;
    defect?.node?.(node, process);
    const coordinator = defect?.coordinator?.(node.coordinator) ?? node.coordinator;
    const replica = defect?.replica?.(node.replica, process) ?? node.replica;
    const door = {
      coordinator,
      welcome: () => node.welcome(),
      onStamp,
    };
    network.listen(process, {
      greet: () => ({
        ...node.welcome(),
        lives: node.replica.lives,
        commitCounter: node.replica.commitCounter,
      }),
      serve: (call) => {
        const { kind } = call.body as PeerMessage | NodeMessage;
        if (
          kind === 'apply' ||
          kind === 'read' ||
          kind === 'prepare' ||
          kind === 'replica-scan' ||
          kind === 'peer-ping' ||
          kind === 'ask'
        ) {
          servePeerCall(replica, node.replica, process, call);
        } else {
          serveNodeCall(door, process, call);
        }
      },
    });
    process.say('serves');
  }
}

/** A node's log becomes part of the readable trace. */
function logOf(process: SimProcess): Log {
  if (!process.kernel.trace.textual) return silentLog;
  const say = (fields: object, message: string) => {
    process.say(`log: ${message} ${JSON.stringify(fields, (_, value: unknown) => plain(value))}`);
  };
  return { debug: say, info: say, warn: say, error: say };
}

function plain(value: unknown): unknown {
  return value instanceof Error ? value.message : value;
}
