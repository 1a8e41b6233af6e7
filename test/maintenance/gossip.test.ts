import { expect, test } from 'vitest';
import { suspicionRoundsOf } from '../../src/core/membership.js';
import { GossipNet } from './gossip-net.js';

/**
 * A dead node is believed to be dead by all after its suspicion, and so many rounds more: until somebody's turn comes to ping
 * it, until that round is over, and for the news to get around.
 */
const DETECTION_SLACK_ROUNDS = 6;

test('everybody is found alive at the start of a whole cluster, and nobody is suspected', () => {
  const net = new GossipNet({ nodes: 10 });
  return net.run(async () => {
    net.startAll();
    await net.pass(1);
    expect(net.agrees).toBe(true);
    await net.pass(5);
    expect(net.agrees).toBe(true);
    expect(net.hosts.flatMap(({ standings }) => [...standings])).toEqual([]);
  });
});

test.for([3, 10, 100])('of %i nodes a dead one is known to all within the bound', (nodes) => {
  const net = new GossipNet({ nodes });
  return net.run(async () => {
    net.startAll();
    await net.pass(4.3);
    net.host('n2').kill();
    const bound = suspicionRoundsOf(nodes) + DETECTION_SLACK_ROUNDS;
    const rounds = await net.roundsUntil(() => net.opinions('n2').join() === 'dead', bound);
    expect(rounds).toBeGreaterThanOrEqual(suspicionRoundsOf(nodes));
    expect(net.agrees).toBe(true);
  });
});
