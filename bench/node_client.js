// How fast a server is for the official Node client: batches of 8189, then one transfer at a time, then many single ones at once.
// Usage, with NODE_PATH naming a directory that has tigerbeetle-node: node node_client.js ADDR:PORT BATCHES SINGLES
'use strict';
const { createClient, id } = require('tigerbeetle-node');

const BATCH = 8189;
const ACCOUNTS = 10000;
const CONCURRENT = 50000;
const CREATED = 0xffffffff;

const [address, batches, singles] = [process.argv[2], Number(process.argv[3]), Number(process.argv[4])];
const client = createClient({ cluster_id: 0n, replica_addresses: [address] });
const first = id();

const account = (index) => ({
  id: first + BigInt(index), debits_pending: 0n, debits_posted: 0n, credits_pending: 0n, credits_posted: 0n,
  user_data_128: 0n, user_data_64: 0n, user_data_32: 0, reserved: 0, ledger: 2, code: 1, flags: 0, timestamp: 0n,
});

const transfer = () => {
  const from = Math.floor(Math.random() * ACCOUNTS);
  const to = (from + 1 + Math.floor(Math.random() * (ACCOUNTS - 1))) % ACCOUNTS;
  return {
    id: id(), debit_account_id: first + BigInt(from), credit_account_id: first + BigInt(to), amount: 1n,
    pending_id: 0n, user_data_128: 0n, user_data_64: 0n, user_data_32: 0, timeout: 0, ledger: 2, code: 1, flags: 0,
    timestamp: 0n,
  };
};

const all = (count, make) => Array.from({ length: count }, (_, index) => make(index));

function check(results, count) {
  if (results.length !== count || results.some((result) => result.status !== CREATED)) throw new Error('rejected');
}

// Posts `count` requests, one after the other, and waits for each reply; returns the latencies in ms, rising, and the rate.
// The clock runs while the client has the request, not while it is being made.
async function post(count, make) {
  const latencies = [];
  let events = 0;
  for (let i = 0; i < count; i++) {
    const request = make();
    const sent = performance.now();
    const results = await client.createTransfers(request);
    latencies.push(performance.now() - sent);
    check(results, request.length);
    events += request.length;
  }
  const seconds = latencies.reduce((sum, latency) => sum + latency, 0) / 1000;
  latencies.sort((a, b) => a - b);
  return { latencies, rate: events / seconds };
}

// Posts `count` single transfers at once, which the client puts into common requests as it sees fit.
async function postConcurrently(count) {
  const requests = all(count, () => [transfer()]);
  const latencies = [];
  const begun = performance.now();
  await Promise.all(requests.map(async (request) => {
    check(await client.createTransfers(request), 1);
    latencies.push(performance.now() - begun);
  }));
  return { latencies, rate: count / (latencies[latencies.length - 1] / 1000) };
}

function print(what, { latencies, rate }) {
  const at = (part) => latencies[Math.min(latencies.length - 1, Math.floor(latencies.length * part))].toFixed(2);
  console.log(`${what}: ${Math.round(rate).toLocaleString('en')} transfers a second, ` +
    `p50 ${at(0.5)} ms, p99 ${at(0.99)} ms, worst ${at(1)} ms`);
}

async function main() {
  for (let index = 0; index < ACCOUNTS; index += 5000) {
    check(await client.createAccounts(all(5000, (i) => account(index + i))), 5000);
  }
  print(`${batches} batches of ${BATCH}`, await post(batches, () => all(BATCH, transfer)));
  print(`${singles} one at a time`, await post(singles, () => [transfer()]));
  print(`${CONCURRENT} at once`, await postConcurrently(CONCURRENT));
  client.destroy();
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
