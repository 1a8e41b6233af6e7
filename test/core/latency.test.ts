import fc from 'fast-check';
import { expect, test } from 'vitest';
import { HedgeBudget } from '../../src/core/hedge-budget.js';
import { LatencyEstimate } from '../../src/core/latency.js';
import { orderPeers } from '../../src/core/peer-order.js';
import { seededRandom } from '../seeded-random.js';

test('about one answer in a hundred is above the estimate, at whatever scale', () => {
  for (const scaleMs of [0.2, 5, 400]) {
    const random = seededRandom(7);
    const estimate = new LatencyEstimate();
    const draw = (): number => scaleMs * -Math.log(1 - random.fraction());
    for (let i = 0; i < 20_000; i++) estimate.observe(draw());
    let above = 0;
    for (let i = 0; i < 20_000; i++) {
      const ms = draw();
      if (ms > estimate.p99Ms) above++;
      estimate.observe(ms);
    }
    expect(above / 20_000).toBeGreaterThan(0.006);
    expect(above / 20_000).toBeLessThan(0.014);
    expect(estimate.typicalMs).toBeGreaterThan(scaleMs / 3);
    expect(estimate.typicalMs).toBeLessThan(scaleMs * 3);
  }
});

test('hedges stay within their share of the requests plus the burst, whatever the pattern', () => {
  fc.assert(
    fc.property(fc.array(fc.boolean(), { maxLength: 500 }), (pattern) => {
      const budget = new HedgeBudget(0.05, 10);
      let requests = 0;
      let hedges = 0;
      for (const isRequest of pattern) {
        if (isRequest) {
          requests++;
          budget.earn();
        } else if (budget.spend()) hedges++;
        expect(hedges).toBeLessThanOrEqual(10 + requests * 0.05 + 1e-9);
      }
    }),
    { seed: 8 },
  );
});

test('the node itself is asked first, then the fastest, then by preference, and suspects last', () => {
  const peers = [
    { local: false, typicalMs: 3, suspect: false },
    { local: false, typicalMs: 1, suspect: false },
    { local: true, typicalMs: 9, suspect: false },
    { local: false, typicalMs: 0, suspect: true },
    { local: false, typicalMs: 1, suspect: false },
  ];
  expect(orderPeers(peers)).toEqual([2, 1, 4, 0, 3]);
});
