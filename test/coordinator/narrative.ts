import { isConsistency } from '../../src/core/consistency.js';
import type { ErrorCode } from '../../src/core/errors.js';
import { decodeRecord, headerOf, versionOf } from '../../src/core/record.js';
import { encodeVersion, readVersion, type Version } from '../../src/core/version.js';
import type { NodeAnswer } from '../../src/io/link.js';
import type { ApplyAnswer, ReadAnswer } from '../../src/io/peer.js';
import {
  bytes,
  createWorld,
  operationOf,
  NO_BYTES,
  placementOf,
  recordAt,
  START_MS,
  versionAt,
  type TestOperation,
  type World,
} from './fixture.js';
import { ScriptedPeer, type SentCall } from './scripted-peer.js';

/**
 * Runs a narrative: a text of steps, each with what the coordinator sends and answers because of it.
 *
 * ```
 * cluster n1/a n2/a n3/b          every key's preference list; the first is the coordinator
 * put v1@5 QUORUM                 value v1 stamped 5 ms after the start; `x@5` is a tombstone, `v1@5+20` expires 20 ms later
 * get QUORUM min=@7 receipt       options: receipt, zone=a, min=@7, timeout=50
 * n2 applied | kept v2@9 | found v1@5 | absent | refused CODE | failed CODE | unreachable
 * n2 found v1@5 fence=@9          an answer of a replica that has committed this fence; copies are told with the fence they carry
 * down n2 | up n2 | advance 10 | cancel | quarantine
 * ```
 *
 * Steps stand above a line of dashes and what follows from them below it; an empty line ends the block.
 */
export async function retell(text: string): Promise<string> {
  const told: string[] = [];
  const stage = new Stage();
  for (const block of text.trimEnd().split('\n\n')) {
    const [steps = ''] = block.split('\n----');
    for (const step of steps.split('\n')) {
      if (!step.startsWith('#')) await stage.perform(step);
    }
    const happened = stage.events.splice(0);
    told.push([steps, '----', ...happened].join('\n'));
  }
  return told.join('\n\n') + '\n';
}

class Stage {
  readonly events: string[] = [];
  #world: World | undefined;
  readonly #peers = new Map<string, ScriptedPeer>();
  #operation: TestOperation | undefined;
  #told = 0;

  async perform(step: string): Promise<void> {
    const [verb = '', ...words] = step.split(' ');
    switch (verb) {
      case 'cluster':
        this.#build(words);
        break;
      case 'put':
      case 'get':
        this.#start(verb, words);
        break;
      case 'cancel':
        this.world.coordinator.cancel(this.#operation as TestOperation);
        break;
      case 'advance':
        await this.world.time.advance(Number(words[0]));
        break;
      case 'quarantine':
        this.world.quarantined = true;
        break;
      case 'down':
      case 'up':
        this.#peer(words[0] ?? '').connected = verb === 'up';
        break;
      default:
        this.#peer(verb).answer(answerOf(words));
    }
    this.#tellAnswers();
    for (const debt of this.world.owed.splice(0)) this.events.push(`owed ${debt}`);
  }

  get world(): World {
    if (this.#world === undefined) throw new Error('a narrative starts with `cluster`');
    return this.#world;
  }

  #build(words: readonly string[]): void {
    const nodes = words.map((word) => {
      const [id = '', zone = ''] = word.split('/');
      return { id, zone };
    });
    this.#peers.clear();
    for (const { id } of nodes) {
      this.#peers.set(id, new ScriptedPeer(id, (nodeId, sent) => this.#tellSent(nodeId, sent)));
    }
    this.#world = createWorld({
      placement: placementOf(nodes, () => nodes.map((_, index) => index)),
      peerOf: (nodeId) => this.#peer(nodeId),
    });
  }

  #start(kind: 'get' | 'put', words: readonly string[]): void {
    const option = (name: string): string | undefined =>
      words.find((word) => word.startsWith(`${name}=`))?.slice(name.length + 1);
    const level = words.find((word) => isConsistency(word));
    const min = option('min');
    this.#told = 0;
    this.#operation = operationOf(
      kind,
      bytes('k'),
      kind === 'put' ? recordOf(words[0] ?? '') : NO_BYTES,
      {
        level: level ?? 'QUORUM',
        zone: option('zone') ?? '',
        receipt: words.includes('receipt'),
        minVersion: min === undefined ? NO_BYTES : encodeVersion(versionAt(Number(min.slice(1)))),
        deadlineMs: this.world.time.clock.monotonicMs() + Number(option('timeout') ?? 1_000),
      },
    );
    this.world.coordinator.execute(this.#operation);
  }

  #peer(nodeId: string): ScriptedPeer {
    const peer = this.#peers.get(nodeId);
    if (peer === undefined) throw new Error(`there is no node ${nodeId}`);
    return peer;
  }

  #tellSent(nodeId: string, sent: SentCall): void {
    const what =
      sent.kind === 'read'
        ? `read ${sent.part}`
        : `${sent.call.source} ${recordText(sent.call.record)}${fenceText(sent.call.fence)}`;
    this.events.push(`-> ${nodeId} ${what}`);
  }

  #tellAnswers(): void {
    const answers = this.#operation?.answers ?? [];
    for (const answer of answers.slice(this.#told)) this.events.push(...answerText(answer));
    this.#told = answers.length;
  }
}

function recordOf(word: string): Uint8Array {
  const [value = '', at = ''] = word.split('@');
  const [stamp, ttl] = at.split('+').map(Number) as [number, number?];
  return recordAt('k', value, stamp, {
    tombstone: value === 'x',
    ...(ttl === undefined ? {} : { expiresAtMs: START_MS + stamp + ttl }),
  });
}

function answerOf(words: readonly string[]): ApplyAnswer | ReadAnswer {
  const [kind = '', word = ''] = words;
  const at = words.find((one) => one.startsWith('fence=@'))?.slice('fence=@'.length);
  const fence = at === undefined ? {} : { fence: encodeVersion(versionAt(Number(at))) };
  switch (kind) {
    case 'applied':
      return { kind };
    case 'absent':
      return { kind, ...fence };
    case 'kept':
      return { kind, header: headerOf(recordOf(word)) };
    case 'found': {
      const record = recordOf(word);
      return { kind, header: headerOf(record), record, ...fence };
    }
    case 'header': {
      return { kind: 'found', header: headerOf(recordOf(word)), ...fence };
    }
    case 'unreachable':
      return { kind, code: 'UNAVAILABLE', message: 'not connected' };
    case 'refused':
    case 'failed':
      return { kind, code: word as ErrorCode, message: word };
    default:
      throw new Error(`no such answer: ${kind}`);
  }
}

function versionText(version: Version): string {
  return `@${version.wallMs - START_MS}`;
}

function fenceText(fence: Uint8Array): string {
  return fence.length === 0 ? '' : ` fence=${versionText(readVersion(fence, 0))}`;
}

function recordText(record: Uint8Array): string {
  const fields = decodeRecord(record);
  if (fields === undefined) return 'no record';
  const value = fields.tombstone ? 'x' : Buffer.from(fields.value).toString('utf8');
  const { expiresAtMs, version } = fields;
  const ttl = expiresAtMs === undefined ? '' : `+${expiresAtMs - version.wallMs}`;
  return value + versionText(version) + ttl;
}

function answerText(answer: NodeAnswer): string[] {
  const told: string[] = [];
  if (answer.code !== undefined) {
    told.push(`${answer.code}, outcome ${answer.outcome}: ${answer.message}`);
  } else if (answer.record !== undefined) {
    told.push(`answered ${recordText(answer.record)}`);
  } else {
    told.push('answered');
  }
  if (answer.shadow !== undefined) {
    told.push(`  shadowed by ${versionText(versionOf(answer.shadow))}`);
  }
  if (answer.receipt !== undefined) {
    const { needed, answered, replicas } = answer.receipt;
    const each = replicas.map(
      ({ node, result, version }) =>
        `${node} ${result}${version === undefined ? '' : versionText(version)}`,
    );
    told.push(`  receipt: ${answered} of ${needed}: ${each.join(', ')}`);
  }
  return told;
}
