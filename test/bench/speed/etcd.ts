import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { Client, credentials, type MethodDefinition, type ServiceDefinition } from '@grpc/grpc-js';
import { loadSync } from '@grpc/proto-loader';
import type { BenchStore } from '../../../cli/bench/bench-run.js';
import { eventually, freePorts } from '../../integration/processes.js';
import type { Launched, Processes } from './processes.js';

const NODES = 3;
const PROTO = fileURLToPath(new URL('../../../../test/bench/speed/etcd.proto', import.meta.url));
/** Revisions are kept until somebody compacts them, and the default of 2 GB could stop a long run. */
const QUOTA_BYTES = 8 * 1024 ** 3;

interface Header {
  readonly member_id: number;
}

interface RangeRequest {
  readonly key: Uint8Array;
  readonly range_end?: Uint8Array;
  readonly limit?: number;
  readonly serializable: boolean;
}

interface RangeResponse {
  readonly kvs?: readonly { readonly key: Uint8Array; readonly value?: Uint8Array }[];
}

interface Status {
  readonly header: Header;
  readonly version: string;
  readonly leader?: number;
}

const definitions = loadSync(PROTO, { keepCase: true, longs: Number });
const kvService = definitions['etcdserverpb.KV'] as ServiceDefinition;
const maintenance = definitions['etcdserverpb.Maintenance'] as ServiceDefinition;
const RANGE = kvService['Range'] as MethodDefinition<RangeRequest, RangeResponse>;
const PUT = kvService['Put'] as MethodDefinition<object, object>;
const STATUS = maintenance['Status'] as MethodDefinition<object, Status>;

/** What `etcd` on the PATH says of its version; undefined where there is none. */
export async function etcdVersion(): Promise<string | undefined> {
  try {
    const { stdout } = await promisify(execFile)('etcd', ['--version']);
    return /etcd Version: (\S+)/.exec(stdout)?.[1];
  } catch {
    return undefined;
  }
}

/**
 * Three nodes of etcd as processes of this machine, with its defaults (each write synced by a majority), and a plain grpc-js
 * client: one connection to each node, a unary call for each operation.
 */
export class EtcdCluster {
  readonly #nodes: Launched[] = [];
  readonly #clients: Client[] = [];
  #leader!: Client;
  #turn = 0;

  private constructor(private readonly processes: Processes) {}

  static async start(processes: Processes): Promise<EtcdCluster> {
    const cluster = new EtcdCluster(processes);
    const ports = await freePorts(2 * NODES);
    const names = Array.from({ length: NODES }, (_, i) => `e${i + 1}`);
    const url = (at: number) => `http://127.0.0.1:${ports[at]}`;
    const members = names.map((name, i) => `${name}=${url(NODES + i)}`).join(',');
    for (const [i, name] of names.entries()) {
      const settings = {
        name,
        'data-dir': join(processes.folder, 'etcd', name),
        'listen-client-urls': url(i),
        'advertise-client-urls': url(i),
        'listen-peer-urls': url(NODES + i),
        'initial-advertise-peer-urls': url(NODES + i),
        'initial-cluster': members,
        'initial-cluster-state': 'new',
        'quota-backend-bytes': QUOTA_BYTES,
        logger: 'zap',
        'log-level': 'error',
      };
      const args = Object.entries(settings).map(([flag, value]) => `--${flag}=${value}`);
      const stdio = ['ignore', 'ignore', 'pipe'] as const;
      cluster.#nodes.push(processes.launch(name, 'etcd', args, { stdio: [...stdio] }));
      cluster.#clients.push(new Client(`127.0.0.1:${ports[i]}`, credentials.createInsecure()));
    }
    await cluster.#findLeader();
    return cluster;
  }

  get pids(): readonly number[] {
    return this.#nodes.map(({ pid }) => pid);
  }

  /**
   * `leader`: writes and linearizable reads go to the leader, which spares a lone one the way through another node. `all`: each
   * node is asked in turn, as etcd's own client does, which shares out the work of many. Serializable reads always do that.
   */
  store(reads: 'linearizable' | 'serializable', through: 'leader' | 'all'): BenchStore {
    const serializable = reads === 'serializable';
    const leader = () => this.#leader;
    const next = () => this.#next();
    const writer = through === 'leader' ? leader : next;
    const reader = serializable ? next : writer;
    return {
      async get(key) {
        const { kvs } = await call(reader(), RANGE, { key, serializable });
        return kvs?.[0]?.value;
      },
      put: (key, value) => call(writer(), PUT, { key, value }),
      async *scan({ gte, lt, limit }) {
        const range = {
          ...(lt !== undefined && { range_end: lt }),
          ...(limit !== undefined && { limit }),
        };
        const { kvs } = await call(reader(), RANGE, { key: gte, ...range, serializable });
        yield* kvs ?? [];
      },
    };
  }

  async stop(): Promise<void> {
    for (const client of this.#clients) client.close();
    await Promise.all(this.#nodes.map((node) => this.processes.stop(node, 'SIGKILL')));
  }

  #next(): Client {
    this.#turn = (this.#turn + 1) % NODES;
    return this.#clients[this.#turn] as Client;
  }

  async #findLeader(): Promise<void> {
    await eventually('etcd has a leader', async () => {
      try {
        const states = await Promise.all(this.#clients.map((client) => call(client, STATUS, {})));
        const at = states.findIndex(({ header, leader }) => header.member_id === leader);
        const isAgreed = states.every(({ leader }) => leader === states[at]?.leader);
        if (at >= 0 && isAgreed) this.#leader = this.#clients[at] as Client;
        return at >= 0 && isAgreed;
      } catch {
        return false;
      }
    });
  }
}

function call<Request, Response>(
  client: Client,
  method: MethodDefinition<Request, Response>,
  request: Request,
): Promise<Response> {
  return new Promise((resolve, reject) => {
    const { path, requestSerialize, responseDeserialize } = method;
    client.makeUnaryRequest(
      path,
      requestSerialize,
      responseDeserialize,
      request,
      (error, answer) => {
        if (error === null) resolve(answer as Response);
        else reject(error);
      },
    );
  });
}
