import { afterEach, describe, expect, test } from 'vitest';
import { metricsText, serveMetrics, type MetricsServer } from '../../cli/metrics.js';
import { STATUS } from '../wire/fake-node.js';

async function linesOf(text: Promise<string>): Promise<string[]> {
  return (await text).split('\n').filter((line) => line !== '' && !line.startsWith('#'));
}

describe('the metrics of a node', () => {
  test('say that it is quarantined, and how often it refused a stamp', async () => {
    const lines = await linesOf(metricsText(STATUS));
    expect(lines).toContain('quorate_state{state="quarantined",node="n1"} 1');
    expect(lines).toContain('quorate_state{state="serving",node="n1"} 0');
    expect(lines).toContain('quorate_drift_refusals_total{node="n1"} 1');
    expect(lines).toContain('quorate_clock_offset_seconds{node="n1"} -0.0125');
  });

  test('say of each other node what it is owed, and whether it is heard', async () => {
    const lines = await linesOf(metricsText(STATUS));
    expect(lines).toContain('quorate_hints_owed{target="n2",node="n1"} 3');
    expect(lines).toContain('quorate_peer_connected{peer="n2",node="n1"} 0');
    expect(lines).toContain('quorate_peer_alive{peer="n2",node="n1"} 0');
    expect(lines).toContain('quorate_last_compared_seconds{peer="n2",node="n1"} 5');
    const alone = metricsText({ ...STATUS, peers: [], members: [] });
    expect(await alone).not.toMatch(/quorate_(peer|hints_owed)/);
    const well = metricsText({ ...STATUS, hints: { ...STATUS.hints, owed: [] } });
    expect(await linesOf(well)).toContain('quorate_hints_owed{target="n2",node="n1"} 0');
  });

  test('are those of now at every scrape, counters as they are and not summed up', async () => {
    const twice = [await metricsText(STATUS), await metricsText({ ...STATUS, writes: 10 })];
    expect(twice[0]).toContain('quorate_writes_total{node="n1"} 6\n');
    expect(twice[1]).toContain('quorate_writes_total{node="n1"} 10\n');
    expect(twice[0]).toContain('# TYPE quorate_writes_total counter\n');
    expect(twice[0]).toContain('# TYPE quorate_in_flight gauge\n');
  });
});

describe('the server of metrics', () => {
  let server: MetricsServer | undefined;
  afterEach(() => server?.close());

  test('answers at /metrics, says why where it cannot, and refuses a port that is taken', async () => {
    let scrapes = 0;
    const status = async () => {
      if (scrapes++ > 0) throw new Error('the disk is gone');
      return Promise.resolve(STATUS);
    };
    server = await serveMetrics(0, status);
    const { port } = server;
    const scrape = () => fetch(`http://127.0.0.1:${port}/metrics`);
    const answer = await scrape();
    expect(answer.headers.get('content-type')).toMatch(/^text\/plain; version=0\.0\.4/);
    expect(await answer.text()).toBe(await metricsText(STATUS));
    expect((await fetch(`http://127.0.0.1:${port}/`)).status).toBe(404);
    const failure = await scrape();
    expect({ status: failure.status, text: await failure.text() }).toEqual({
      status: 500,
      text: 'Error: the disk is gone\n',
    });
    await expect(serveMetrics(port, status)).rejects.toThrow('EADDRINUSE');
  });
});
