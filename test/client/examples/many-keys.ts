// Usage: node dist/test/client/examples/many-keys.js ENDPOINTS
import { connect, jsonCodec, type Codec } from 'quorate';

interface City {
  readonly name: string;
  readonly people: number;
}

await using kv = await connect(process.argv[2] ?? '127.0.0.1:7101');

// A namespace is a prefix, a codec says what values are; both share the connection.
const cities = kv.namespace('city/').withCodec(jsonCodec as Codec<City>);

await cities.putMany([
  ['CH/Bern', { name: 'Bern', people: 134_000 }],
  ['CH/Basel', { name: 'Basel', people: 173_000 }],
  ['AT/Graz', { name: 'Graz', people: 292_000 }],
]);

// In the order of the keys, fetched page by page while it is read.
for await (const { keyText, value } of cities.scan({ prefix: 'CH/' })) {
  console.log(keyText, value.people);
}

// Each operation of a batch has its own result.
const results = await cities.batch([
  { type: 'get', key: 'AT/Graz' },
  { type: 'delete', key: 'CH/Bern' },
  { type: 'put', key: '', value: { name: 'Nowhere', people: 0 } },
]);
console.log(results.map((result) => (result.ok ? result.type : result.error.code)));
