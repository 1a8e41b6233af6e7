import { GossipNet } from '../maintenance/gossip-net.js';

/**
 * What the tests are too quick for: a hundred nodes for half an hour of virtual time on a network that loses every twentieth
 * message. Nobody may be declared dead. `npm run bench:gossip [-- nodes rounds]`.
 */
const [nodes = 100, rounds = 1_800] = process.argv.slice(2).map(Number);
const net = new GossipNet({ nodes, lossChance: 0.05 });
await net.run(async () => {
  net.startAll();
  for (let passed = 0; passed < rounds; passed += 60) {
    await net.pass(Math.min(60, rounds - passed));
    process.stderr.write(`${passed + 60} of ${rounds} rounds, ${net.deaths.length} deaths\n`);
  }
});
const { messages, bytes } = net.cost;
const refutations = net.hosts.reduce((sum, { gossip }) => sum + (gossip?.refutations ?? 0), 0);
console.log(`nodes                        ${nodes}`);
console.log(`rounds                       ${rounds}`);
console.log(`messages a node and round    ${(messages / nodes / rounds).toFixed(1)}`);
console.log(`bytes a node and round       ${(bytes / nodes / rounds).toFixed(0)}`);
console.log(`suspicions refuted           ${refutations}`);
console.log(`false deaths                 ${net.deaths.length}`);
if (net.deaths.length > 0) process.exitCode = 1;
