import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { detectFormat, readRecords, type RecordFormat } from '../../cli/record-reader.js';
import { ArraySplitter, LineSplitter, type RecordSplitter } from '../../cli/record-splitter.js';

async function read(text: string | Buffer, format: RecordFormat, skip = 0, chunkBytes = 7) {
  const bytes = Buffer.from(text as string);
  async function* chunks() {
    for (let at = 0; at < bytes.length; at += chunkBytes) yield bytes.subarray(at, at + chunkBytes);
  }
  const records = [];
  for await (const batch of readRecords(chunks(), format, skip)) records.push(...batch);
  return records;
}

const told = async (text: string | Buffer, format: RecordFormat, skip = 0) =>
  (await read(text, format, skip)).map((record) =>
    'json' in record ? `${record.line}: ${record.json}` : `${record.line}: ${record.problem}`,
  );

/** JSON with white space between its tokens. */
const looseJson = fc
  .tuple(fc.jsonValue(), fc.constantFrom('', '\n', ' \t\r\n'))
  .map(([value, space]) => space + JSON.stringify(value, null, space) + space);

describe('JSON lines', () => {
  test('are a record each; blank lines, CR LF and a byte order mark are none', async () => {
    expect(await told('\ufeff{"a":1}\r\n\n  {"a": 2}\n[3]', 'jsonl')).toEqual([
      '1: {"a":1}',
      '3: {"a":2}',
      '4: [3]',
    ]);
  });

  test('that are not JSON, or not UTF-8, are rejected with their number, and the rest is read', async () => {
    const input = Buffer.concat([
      Buffer.from('{"a":\n'),
      Buffer.from([0x22, 0xff, 0x22, 0x0a]),
      Buffer.from('3\n'),
    ]);
    const records = await told(input, 'jsonl');
    expect(records[0]).toMatch(/^1: is not JSON: /);
    expect(records.slice(1)).toEqual(['2: is not UTF-8', '3: 3']);
  });

  test('that are too long are rejected without being kept', () => {
    const splitter = new LineSplitter(8);
    const records = [...splitter.push(Buffer.from('123456789\n12345678\n')), ...splitter.end()];
    expect(records.map(({ problem, text }) => problem ?? text)).toEqual([
      'is 9 bytes long, the limit is 8',
      '12345678',
    ]);
  });

  test('keep every digit and every escape of the input', async () => {
    const line = '{"id":12345678901234567890,"f":1.10,"s":"\\u00e9 \\" \\\\"}';
    expect(await told(`  ${line.replaceAll(',', ' , ')}`, 'jsonl')).toEqual([`1: ${line}`]);
  });
});

describe('a JSON array', () => {
  test('gives its elements, whatever the white space, with the lines they begin on', async () => {
    expect(await told('[\n{"a":[1,{"b":"]}"}]},\n "x,\\"]" , 3\n]\n', 'json')).toEqual([
      '2: {"a":[1,{"b":"]}"}]}',
      '3: "x,\\"]"',
      '3: 3',
    ]);
    expect(await told(' [ ] ', 'json')).toEqual([]);
  });

  test('holds as many records as were put in, wherever the input is cut', () => {
    fc.assert(
      fc.property(fc.array(looseJson), fc.array(fc.nat(40)), (elements, cuts) => {
        const bytes = Buffer.from(`[${elements.join(',')}]`);
        const records = cutInto(new ArraySplitter(), bytes, cuts);
        expect(records.map(({ text }) => JSON.parse(text) as unknown)).toEqual(
          elements.map((text) => JSON.parse(text) as unknown),
        );
        for (const { endByte, text } of records) {
          expect(bytes.subarray(0, endByte).toString().trimEnd().endsWith(text)).toBe(true);
        }
      }),
      { seed: 2, numRuns: 200 },
    );
  });

  test.each([
    ['', 'the input is empty'],
    ['{"a":1}', 'must begin with ['],
    ['[1,2', 'ends before its array does'],
    ['[1,]', 'a record was expected before ]'],
    ['[,1]', 'a record was expected before ,'],
    ['[1}', 'a } that nothing opened'],
    ['[1] 2', 'something follows'],
  ])('that is %j cannot be read, and says where', async (text, problem) => {
    await expect(read(text, 'json')).rejects.toThrow(problem);
    await expect(read(text, 'json')).rejects.toThrow(/^line 1 \(byte \d+\)/);
  });

  test('rejects an element that is not JSON, and reads on', async () => {
    const records = await told('[1,{a:1},3]', 'json');
    expect(records[0]).toBe('1: 1');
    expect(records[1]).toMatch(/^1: is not JSON/);
    expect(records[2]).toBe('1: 3');
  });
});

describe('CSV', () => {
  test('gives objects of text by its header, quotes and line breaks included', async () => {
    expect(await told('\ufeffid,name\n1,"a, ""b""\nc"\n2,d\n', 'csv')).toEqual([
      expect.stringMatching(/^\d+: \{"id":"1","name":"a, \\"b\\"\\nc"\}$/),
      expect.stringMatching(/^\d+: \{"id":"2","name":"d"\}$/),
    ]);
  });

  test('rejects a row with too few or too many cells, in its place', async () => {
    const records = await told('a,b\n1,2\n3\n4,5\n6,7,8\n9,10\n', 'csv');
    expect(records.map((line) => line.replace(/^\d+: /, '').slice(0, 10))).toEqual([
      '{"a":"1","',
      'is not CSV',
      '{"a":"4","',
      'is not CSV',
      '{"a":"9","',
    ]);
  });

  test('with a column twice cannot be read', async () => {
    await expect(read('a,a\n1,2\n', 'csv')).rejects.toThrow('"a" twice');
  });
});

describe('records', () => {
  test('are the same from any number on as without those before it', async () => {
    const inputs = {
      jsonl: '1\nx\n3\n\n4\n',
      json: '[1,x,3,4]',
      csv: 'a,b\n1,2\n3\n4,5\n6,7\n',
    } as const;
    for (const [format, text] of Object.entries(inputs) as [RecordFormat, string][]) {
      const all = await read(text, format);
      expect(all).toHaveLength(4);
      for (let skip = 0; skip <= 5; skip++) {
        expect(await read(text, format, skip)).toEqual(all.slice(skip));
      }
    }
  });

  test.each([
    ['x.csv', '{', 'csv'],
    ['x.jsonl', '[', 'jsonl'],
    ['x.ndjson', '', 'jsonl'],
    ['x.json', ' \n[1]', 'json'],
    ['x.json', '{"a":1}\n{"a":2}', 'jsonl'],
    ['-', '\ufeff[', 'json'],
    ['-', '{', 'jsonl'],
    ['-', 'id,name', 'csv'],
  ] as const)('of %s beginning with %j are read as %s', (name, start, format) => {
    expect(detectFormat(name, Buffer.from(start))).toBe(format);
  });
});

function cutInto(splitter: RecordSplitter, bytes: Buffer, cuts: readonly number[]) {
  const records = [];
  let at = 0;
  for (const length of cuts) {
    records.push(...splitter.push(bytes.subarray(at, at + length)));
    at = Math.min(at + length, bytes.length);
  }
  return [...records, ...splitter.push(bytes.subarray(at)), ...splitter.end()];
}

describe('an input that cannot be records', () => {
  test.each([
    ['gzip', Buffer.from([0x1f, 0x8b, 8, 0]), 'compressed with gzip'],
    ['binary', Buffer.from('PK\u0003\u0004\u0000'), 'is binary'],
    ['UTF-16', Buffer.from('[{"id":1}]', 'utf16le'), 'not UTF-8'],
  ])('is refused before it is taken for CSV: %s', (_, start, problem) => {
    expect(() => detectFormat('records', start)).toThrow(problem);
  });

  test('is not shown at length', async () => {
    const [record] = await read(`a,b\nx "${'y'.repeat(5_000)}\n`, 'csv');
    expect((record as { problem: string }).problem.length).toBeLessThan(300);
  });
});
