import { describe, expect, test } from 'vitest';
import { placesOf, selectPlaces, serveArguments } from '../../cluster/layout.js';

const layout = { nodeCount: 3, basePort: 7101 };

function idsOf(ids: readonly string[]): string[] {
  return selectPlaces(layout, ids).map(({ id }) => id);
}

function commandOfLastNode(nodeCount: number): string {
  const sized = { nodeCount, basePort: 7101 };
  const [place] = placesOf(sized).slice(-1);
  if (place === undefined) throw new Error('no node');
  return serveArguments('kvctl.js', sized, place, '/state').join(' ');
}

describe('the layout', () => {
  test('has consecutive ports, and a zone for each node', () => {
    expect(placesOf(layout).map(({ id, endpoint, zone }) => `${id} ${endpoint} ${zone}`)).toEqual([
      'n1 127.0.0.1:7101 z1',
      'n2 127.0.0.1:7102 z2',
      'n3 127.0.0.1:7103 z3',
    ]);
  });

  test('selects nodes in their order and once each, and all for no ids', () => {
    expect(idsOf(['n3', 'n1', 'n3'])).toEqual(['n1', 'n3']);
    expect(idsOf([])).toEqual(['n1', 'n2', 'n3']);
  });

  test('an unknown node is a usage error that names the known ones', () => {
    expect(() => selectPlaces(layout, ['n4'])).toThrow(
      'There is no node "n4": this cluster has n1, n2, n3.',
    );
  });

  test('every node is given the same member list, and as many replicas as there are nodes, up to three', () => {
    expect(commandOfLastNode(2)).toBe(
      'kvctl.js serve --cluster=local --node=n2 --listen=127.0.0.1:7102 ' +
        '--members=n1=127.0.0.1:7101/z1,n2=127.0.0.1:7102/z2 --data=/state/n2 --replication=2 ' +
        '--unsafe-faults --log-format=json',
    );
    expect(commandOfLastNode(1)).toContain('--replication=1');
    expect(commandOfLastNode(9)).toContain('--replication=3');
  });
});
