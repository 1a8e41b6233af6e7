import { describe, expect, test } from 'vitest';
import { suspicionRoundsOf, type Rumour } from '../../src/core/membership.js';
import { GossipNet, type Cost, type Host } from './gossip-net.js';

/**
 * A dead node is believed to be dead by all after its suspicion, and so many rounds more: until somebody's turn comes to
 * probe it, until that round is over, and for the news to get around.
 */
const DETECTION_SLACK_ROUNDS = 6;

/** After a heal all agree within so many rounds: every pair has pinged by then, but for vanishing chance. */
const CONVERGENCE_ROUNDS = 20;

function standingsOf(hosts: readonly Host[]): string[] {
  return hosts.flatMap(({ id, standings }) =>
    [...standings].map(([whom, standing]) => `${id}: ${whom} ${standing}`),
  );
}

/** What a quiet cluster costs each of its nodes in a round. */
async function quietCostOf(nodes: number): Promise<Cost> {
  const net = new GossipNet({ nodes });
  await net.run(async () => {
    net.startAll();
    // Until all have passed on all that was new to them.
    await net.pass(30);
    net.cost.messages = 0;
    net.cost.bytes = 0;
    await net.pass(10);
  });
  return { messages: net.cost.messages / nodes / 10, bytes: net.cost.bytes / nodes / 10 };
}

/** Runs a cluster that has found itself. */
async function running(
  net: GossipNet,
  scenario: (host: (id: string) => Host) => Promise<void>,
): Promise<void> {
  await net.run(async () => {
    net.startAll();
    await net.pass(5.3);
    expect(net.agrees).toBe(true);
    await scenario((id) => net.host(id));
  });
}

describe('who is there', () => {
  test.for([3, 10])('of %i nodes is found at the start, and nobody is suspected', (nodes) => {
    const net = new GossipNet({ nodes });
    return net.run(async () => {
      net.startAll();
      await net.pass(0.5);
      expect(net.agrees).toBe(true);
      await net.pass(5);
      expect(net.agrees).toBe(true);
      expect(standingsOf(net.hosts)).toEqual([]);
    });
  });

  test.for([3, 10, 100])(
    'of %i nodes the death of one is known to all within the bound, and its return at once',
    (nodes) => {
      const net = new GossipNet({ nodes });
      return running(net, async (host) => {
        host('n2').kill();
        const least = suspicionRoundsOf(nodes);
        const rounds = await net.roundsUntil(
          () => net.opinions('n2').join() === 'dead',
          least + DETECTION_SLACK_ROUNDS,
        );
        expect(rounds).toBeGreaterThanOrEqual(least);
        expect(net.agrees).toBe(true);
        host('n2').start();
        await net.roundsUntil(() => net.agrees, 3);
        expect(host('n1').standings.get('n2')).toBe('alive');
      });
    },
  );

  test('is known to a node that was alone, and to all others, soon after it is not', () => {
    const net = new GossipNet({ nodes: 30 });
    return running(net, async () => {
      const half = net.hosts.filter((_, index) => index % 2 === 0).map(({ id }) => id);
      net.isolate(half);
      await net.pass(40);
      for (const { id } of net.hosts) {
        const across = net.hosts.filter((other) => half.includes(other.id) !== half.includes(id));
        expect(new Set(across.map((other) => other.belief(id).status))).toEqual(new Set(['dead']));
      }
      net.heal();
      await net.roundsUntil(() => net.agrees, CONVERGENCE_ROUNDS);
    });
  });

  test('is found anew when the whole cluster restarts at once', () => {
    const net = new GossipNet({ nodes: 10 });
    return running(net, async () => {
      for (const host of net.hosts) host.kill();
      await net.pass(3);
      net.startAll();
      await net.roundsUntil(() => net.agrees, 1);
      await net.pass(10);
      expect(standingsOf(net.hosts)).toEqual([]);
    });
  });
});

describe('nobody is declared dead', () => {
  test.for([
    { nodes: 3, rounds: 1_800 },
    { nodes: 10, rounds: 300 },
    { nodes: 100, rounds: 20 },
  ])('where every twentieth message is lost: $nodes nodes, $rounds rounds', ({ nodes, rounds }) => {
    const net = new GossipNet({ nodes, lossChance: 0.05, seed: 7 });
    return net.run(async () => {
      net.startAll();
      await net.pass(rounds);
      expect(net.deaths).toEqual([]);
      net.heal();
      await net.roundsUntil(() => net.agrees, CONVERGENCE_ROUNDS);
    });
  });

  test('when one way between two is cut, either way, and nobody is even suspected', () => {
    const net = new GossipNet({ nodes: 5 });
    return running(net, async () => {
      net.cut('n1', 'n2');
      await net.pass(60);
      expect(net.agrees).toBe(true);
      expect(standingsOf(net.hosts)).toEqual([]);
    });
  });

  test('by a node that was stopped for long, when it goes on', () => {
    const net = new GossipNet({ nodes: 10 });
    return running(net, async (host) => {
      host('n3').pause();
      await net.pass(40.4);
      expect(net.opinions('n3')).toEqual(['dead']);
      const before = net.deaths.length;
      host('n3').resume();
      await net.roundsUntil(() => net.agrees, 3);
      await net.pass(20);
      expect(net.agrees).toBe(true);
      expect(net.deaths.slice(before)).toEqual([]);
      expect(standingsOf([host('n3')])).toEqual([]);
    });
  });

  test('when it was stopped for less than its suspicion: it refutes it', () => {
    const net = new GossipNet({ nodes: 10 });
    return running(net, async (host) => {
      const generation = host('n1').belief('n3').generation;
      host('n3').pause();
      await net.roundsUntil(() => net.opinions('n3').join() === 'suspect', 4);
      host('n3').resume();
      await net.roundsUntil(() => net.agrees, 3);
      expect(net.deaths).toEqual([]);
      expect(host('n1').belief('n3').generation).toBeGreaterThan(generation);
    });
  });

  test('by wall clocks that jump', () => {
    const net = new GossipNet({ nodes: 5 });
    return running(net, async (host) => {
      for (const skewMs of [3_600_000, -3_600_000, 0]) {
        host('n2').clock.setSkew(skewMs);
        await net.pass(8);
      }
      expect(net.agrees).toBe(true);
      expect(standingsOf(net.hosts)).toEqual([]);
    });
  });
});

describe('a node that comes back', () => {
  test('sooner than it was missed is known in its new life, though its clock went back', () => {
    const net = new GossipNet({ nodes: 5 });
    return running(net, async (host) => {
      const before = host('n1').belief('n4').generation;
      host('n4').kill();
      host('n4').clock.setSkew(-600_000);
      host('n4').start();
      await net.roundsUntil(() => host('n1').belief('n4').generation > before, 2);
      await net.pass(10);
      expect(net.agrees).toBe(true);
      expect(net.deaths).toEqual([]);
    });
  });

  test('at another address is found there, also by those that it does not know of', () => {
    const net = new GossipNet({ nodes: 10 });
    return running(net, async (host) => {
      const n4 = host('n4');
      n4.kill();
      n4.address = 'n4.2:7101';
      // It knows where n1 is; the others it is told of.
      n4.members = n4.members.map((member) =>
        member.id === 'n1' ? member : { ...member, address: 'nowhere:1' },
      );
      n4.start();
      await net.roundsUntil(() => net.agrees, 5);
      const addresses = (n4.gossip?.rumours ?? []).map(({ address }) => address).sort();
      expect(addresses).toEqual(net.hosts.map(({ address }) => address).sort());
    });
  });

  test('with a list that is wrong about all others finds them through a seed', () => {
    const net = new GossipNet({ nodes: 3, seedsOf: () => ['nowhere:2', 'n2.1:7101'] });
    return running(net, async (host) => {
      const n3 = host('n3');
      n3.kill();
      n3.address = 'n3.2:7101';
      n3.members = n3.members.map((member) => ({ ...member, address: `nowhere/${member.id}` }));
      await net.pass(12);
      n3.start();
      await net.roundsUntil(() => net.agrees, 8);
    });
  });
});

describe('what it costs', () => {
  test('is the same for a node of a hundred as for one of ten', async () => {
    const ten = await quietCostOf(10);
    const hundred = await quietCostOf(100);
    // Eight pings and eight pongs.
    expect([ten.messages, hundred.messages]).toEqual([16, 16]);
    expect(ten.bytes).toBeLessThan(1_500);
    expect(hundred.bytes / ten.bytes).toBeLessThan(1.1);
  });
});

test('a member that is silent is pinged in every round all the same', () => {
  const net = new GossipNet({ nodes: 3 });
  return running(net, async (host) => {
    host('n2').pause();
    await net.pass(10);
    net.cost.messages = 0;
    await net.pass(10);
    // The two others ping each other, and are answered, and ping the silent one.
    expect(net.cost.messages).toBe(10 * (2 * 2 + 2));
  });
});

describe('steering', () => {
  test('goes by what the node hears itself: who answers a request is alive again at once', () => {
    const net = new GossipNet({ nodes: 3 });
    return running(net, async (host) => {
      net.isolate(['n2']);
      await net.roundsUntil(() => host('n1').standings.get('n2') === 'suspect', 3);
      net.heal();
      host('n1').gossip?.heard('n2');
      expect(host('n1').standings.get('n2')).toBe('alive');
      expect(host('n1').belief('n2').status).toBe('suspect');
      // The next ping tells it so, and it refutes it.
      await net.pass(1);
      expect(host('n1').belief('n2').status).toBe('alive');
    });
  });

  test('does not take a rumour of death for true while the own link stands and answers', () => {
    const net = new GossipNet({ nodes: 3 });
    return running(net, async (host) => {
      const told: Rumour = { ...host('n1').belief('n2'), status: 'dead' };
      host('n1').gossip?.exchange({ from: 'n3', rumours: [told] });
      expect(host('n1').belief('n2').status).toBe('dead');
      expect(host('n1').standings.get('n2')).toBe('suspect');
      await net.pass(0.1);
      expect(host('n1').belief('n2').status).toBe('alive');
      expect(host('n1').standings.get('n2')).toBe('alive');
    });
  });
});

test('rumours of nodes that are no members are counted and go no further', () => {
  const net = new GossipNet({ nodes: 3 });
  return running(net, async (host) => {
    const stranger: Rumour = { nodeId: 'n9', address: 'n9:1', generation: 5, status: 'alive' };
    const { gossip } = host('n1');
    const answer = gossip?.exchange({ from: 'n2', rumours: [stranger] });
    expect(answer?.map(({ nodeId }) => nodeId)).not.toContain('n9');
    expect(gossip?.strangers).toBe(1);
    expect(gossip?.exchange({ from: 'n9', rumours: [stranger] })).toEqual([]);
    expect(gossip?.beliefs().map(({ nodeId }) => nodeId)).toEqual(['n1', 'n2', 'n3']);
  });
});

test('beliefs say since when, how sure, and when it was last heard', () => {
  const net = new GossipNet({ nodes: 3 });
  return running(net, async (host) => {
    const of = (id: string) =>
      host('n1')
        .gossip?.beliefs()
        .find(({ nodeId }) => nodeId === id);
    expect(of('n1')).toMatchObject({ status: 'alive', phi: 0, heardAgoMs: undefined });
    expect(of('n2')).toMatchObject({ status: 'alive', phi: 0 });
    expect(of('n2')?.heardAgoMs).toBeLessThan(1_000);
    host('n2').pause();
    await net.pass(10);
    expect(of('n2')?.status).toBe('dead');
    expect(of('n2')?.phi).toBe(99);
    expect(of('n2')?.forMs).toBeLessThan(8_000);
    expect(of('n2')?.heardAgoMs).toBeGreaterThan(9_000);
  });
});

test('a node that has stopped asks nothing more', () => {
  const net = new GossipNet({ nodes: 3 });
  return running(net, async () => {
    for (const { gossip } of net.hosts) gossip?.stop();
    await net.pass(2);
    net.cost.messages = 0;
    await net.pass(20);
    expect(net.cost.messages).toBe(0);
  });
});
