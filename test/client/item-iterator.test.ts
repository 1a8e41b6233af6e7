import fc from 'fast-check';
import { expect, test } from 'vitest';
import { ItemIterator } from '../../src/client/item-iterator.js';

/** Pages of numbers, and whether the last of them fails to come; 7 is a number that cannot be read. */
const pages = fc.array(fc.array(fc.nat(7), { maxLength: 3 }), { maxLength: 4 });
/** How many items are asked for at once, by turns; 0: whoever asks has had enough. */
const asks = fc.array(fc.constantFrom(1, 1, 1, 2, 3, 5, 0), { maxLength: 8 });

class Pages {
  isClosed = false;

  constructor(
    private readonly list: readonly (readonly number[])[],
    private readonly fails: boolean,
  ) {}

  async *fetch(): AsyncGenerator<readonly number[], void, void> {
    try {
      for (const page of this.list) {
        await Promise.resolve();
        yield page;
      }
      if (this.fails) throw new Error('no page');
    } finally {
      this.isClosed = true;
    }
  }
}

function read(item: number): string {
  if (item === 7) throw new Error('cannot be read');
  return `item ${item}`;
}

async function* plainly(source: Pages): AsyncGenerator<string, undefined, void> {
  for await (const page of source.fetch()) {
    for (const item of page) yield read(item);
  }
  return undefined;
}

async function told(
  iterator: AsyncIterator<string, undefined>,
  script: readonly number[],
): Promise<unknown[]> {
  const heard: unknown[] = [];
  for (const count of script) {
    const answers =
      count === 0
        ? [Promise.resolve(iterator.return?.())]
        : Array.from({ length: count }, () => iterator.next());
    for (const { status, ...rest } of await Promise.allSettled(answers)) {
      heard.push(
        'value' in rest ? rest.value : [status, String((rest as PromiseRejectedResult).reason)],
      );
    }
  }
  return heard;
}

test('items come as from an async generator, however many are asked for at once and wherever it ends', async () => {
  await fc.assert(
    fc.asyncProperty(pages, fc.boolean(), asks, async (list, fails, script) => {
      const [one, other] = [new Pages(list, fails), new Pages(list, fails)];
      const heard = await told(new ItemIterator(one.fetch(), read), script);
      expect(heard).toEqual(await told(plainly(other), script));
      expect(one.isClosed).toBe(other.isClosed);
    }),
    { seed: 5, numRuns: 500 },
  );
});

test('what is left in the middle closes what the pages come from', async () => {
  const source = new Pages([[1, 2], [3]], false);
  for await (const item of new ItemIterator(source.fetch(), read)) {
    expect(item).toBe('item 1');
    break;
  }
  expect(source.isClosed).toBe(true);
});
