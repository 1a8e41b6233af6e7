import { describe, expect, test } from 'vitest';
import { placesOf } from '../../cluster/layout.js';
import { notServing, unreadyReason, type NodeView } from '../../cluster/node-view.js';
import { ZERO_VERSION } from '../../src/core/version.js';
import type { NodeStatusReport, PeerStatusReport } from '../../src/wire/reports.js';

const report: NodeStatusReport = {
  nodeId: 'n1',
  clusterName: 'local',
  clusterId: '0011223344556677',
  release: '0.1.0',
  state: 'serving',
  reason: '',
  uptimeMs: 1,
  wallMs: 1,
  hlc: ZERO_VERSION,
  offsetMs: 0,
  driftRefusals: 0,
  commitCounter: 0,
  storeBytes: 0,
  storeReads: 0,
  digest: '',
  inFlight: 0,
  memoryBytes: 0,
  peers: [],
  faults: [],
  writes: 0,
  reads: 0,
  repairs: 0,
  shed: 0,
  writer: '0011223344556677',
  incarnation: '0011223344556677',
  hints: { owed: [], delivered: 0, dropped: 0 },
  repair: {
    treesReady: true,
    partitionsDiffering: 0,
    keys: 0,
    bytes: 0,
    corruptKeys: 0,
    rounds: [],
  },
  members: [],
};

function peer(nodeId: string, state: PeerStatusReport['state'], reason = ''): PeerStatusReport {
  const address = '127.0.0.1:1';
  return { nodeId, address, state, reason, roundTripMs: 0, offsetMs: 0, quarantined: false };
}

function view(index: number, changes: Partial<NodeView>): NodeView {
  const [place] = placesOf({ nodeCount: 3, basePort: 7101 }).slice(index);
  if (place === undefined) throw new Error('no such place');
  return { place, process: 'running', pid: 1, isHealthy: true, report, ...changes };
}

describe('a node is ready', () => {
  const others = [view(1, {}), view(2, { process: 'killed', isHealthy: false, report: undefined })];
  const of = (
    changes: Partial<NodeView>,
    more: readonly NodeView[] = others,
  ): string | undefined => {
    const it = view(0, changes);
    return unreadyReason(it, [it, ...more]);
  };

  test('when it is healthy and connected to those that run; who does not run is not waited for', () => {
    const peers = [peer('n2', 'connected'), peer('n3', 'connecting', 'connection refused')];
    expect(of({ report: { ...report, peers } })).toBeUndefined();
  });

  test('and else it is said why not', () => {
    expect(of({ report: undefined, isHealthy: false })).toBe('starting');
    expect(of({ process: 'paused' })).toBe('paused');
    expect(of({ isHealthy: false, report: { ...report, state: 'stopping' } })).toBe('stopping');
    const connecting = { ...report, peers: [peer('n2', 'connecting', 'no answer yet')] };
    expect(of({ report: connecting })).toBe('waits for n2');
    const refused = { ...report, peers: [peer('n2', 'refused', 'another cluster')] };
    expect(of({ report: refused })).toBe('waits for n2 (another cluster)');
  });

  test('when it has been refilled, if those that it needs run', () => {
    const refilling = { ...report, state: 'refilling' as const };
    expect(of({ report: refilling }, [view(1, {})])).toBe('refilling');
    expect(of({ report: refilling })).toBeUndefined();
  });

  test('and where they do not, it is said that it does not serve', () => {
    const refilling = { ...report, state: 'refilling' as const, reason: 'it needs n3' };
    expect(notServing(view(0, { report: refilling }))).toBe('refilling: it needs n3');
    expect(notServing(view(0, {}))).toBeUndefined();
    expect(notServing(view(0, { process: 'killed', report: undefined }))).toBeUndefined();
  });

  test('without its connections while faults are injected', () => {
    const apart = { ...report, peers: [peer('n2', 'connecting')] };
    const cut = view(1, { report: { ...report, faults: ['hears nothing of n1'] } });
    expect(of({ report: apart }, [cut])).toBeUndefined();
  });
});
