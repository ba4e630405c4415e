// A disk that fills up under a loaded server: new requests wait, reads are answered, nothing is lost; once there is room
// the same client's request gets through, also when the server was killed and started anew on the full disk.
'use strict';
const assert = require('node:assert/strict');
const { before, after } = require('node:test');
const { createClient, id } = require('tigerbeetle-node');
const { Server, chapter, taelJson, sleep } = require('./server.js');
const { Disk } = require('./disk.js');
const { account, transfer, assertAccounts } = require('./records.js');

const BATCH = 8189;
const FROM = 1n, TO = 2n;

let disk, server, writer, reader, reason;
let acknowledged = 0;

before(async () => {
  try {
    disk = Disk.make(128 << 20);
  } catch (error) {
    reason = `no file system of our own can be mounted: ${error.message}`;
    return;
  }
  server = await Server.make({ directory: disk.directory, limits: ['--segment-size', '4M'] });
  await server.start();
  const address = { cluster_id: server.cluster, replica_addresses: [server.address] };
  writer = createClient(address);
  reader = createClient(address);
  assertAccounts(await writer.createAccounts([account({ id: FROM }), account({ id: TO })]), 'created', 'created');
  await reader.lookupAccounts([FROM]);
});

after(async () => {
  writer?.destroy();
  reader?.destroy();
  await server?.destroy();
  disk?.destroy();
});

async function post() {
  const events = Array.from({ length: BATCH }, () =>
    transfer({ id: id(), debit_account_id: FROM, credit_account_id: TO, amount: 1n }));
  const results = await writer.createTransfers(events);
  assert.equal(results.length, BATCH);
  assert.ok(results.every((result) => result.status === 0xffffffff), 'all are created');
  acknowledged += BATCH;
}

// Posts until a request has gone unanswered for three seconds; returns its promise in an object (a bare one would be awaited).
async function postUntilRefused() {
  for (let batch = 0; batch < 60; batch++) {
    const answer = post();
    const answered = await Promise.race([answer.then(() => true), sleep(3000).then(() => false)]);
    if (!answered) return { answer };
  }
  throw new Error(`the server took 60 MiB on a full disk\n${server.log}`);
}

async function assertPosted(count) {
  const [from] = await reader.lookupAccounts([FROM]);
  assert.equal(Number(from.debits_posted), count);
}

chapter('requests are refused while the disk is full, reads are not, and all goes on with room', async (t) => {
  if (reason) return t.skip(reason);
  await post();
  disk.fill();
  const { answer } = await postUntilRefused();
  assert.equal(server.child.exitCode, null, 'the server lives');
  await assertPosted(acknowledged);
  disk.makeRoom();
  await answer;
  await assertPosted(acknowledged);
});

chapter('a server that is killed on a full disk starts on it, and goes on with room', async (t) => {
  if (reason) return t.skip(reason);
  disk.fill();
  const { answer } = await postUntilRefused();
  await server.kill();
  await server.start();
  await assertPosted(acknowledged);
  disk.makeRoom();
  await answer;
  await post();
  await assertPosted(acknowledged);
});

chapter('the ledger is whole afterwards', async (t) => {
  if (reason) return t.skip(reason);
  assert.deepEqual(await server.stop(), { code: 0, signal: null });
  const verified = taelJson('verify', '--json', server.data);
  assert.equal(verified.ok, true);
  assert.equal(verified.balanced, true);
  assert.equal(verified.transfers, acknowledged);
});
