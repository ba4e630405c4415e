// The official Node client against a server of its own: events of every kind, each result checked, in one story. The
// server is killed with SIGKILL between chapters and in the midst of requests, and the same client object goes on.
// The chapters build on each other and run in order.
'use strict';
const assert = require('node:assert/strict');
const { before, after } = require('node:test');
const {
  createClient, id, amount_max, AccountFlags, TransferFlags, AccountFilterFlags, QueryFilterFlags,
} = require('tigerbeetle-node');
const { Server, chapter, tael, taelJson, sleep } = require('./server.js');
const {
  account, transfer, resolution, accountFilter, queryFilter, assertAccounts, assertTransfers, ids,
} = require('./records.js');

const LEDGER = 700;
// Two customers and a bank. Bob may not overdraw; Ann's balances are kept as history.
const BANK = 1n, ANN = 2n, BOB = 3n, SHOP = 4n;

let server;
let client;

before(async () => {
  server = await Server.make();
  await server.start();
  client = createClient({ cluster_id: server.cluster, replica_addresses: [server.address] });
});

after(async () => {
  client?.destroy();
  await server?.destroy();
});

async function killAndRestart() {
  await server.kill();
  await server.start();
}

async function balancesOf(accountId) {
  const [found] = await client.lookupAccounts([accountId]);
  const { debits_pending, debits_posted, credits_pending, credits_posted } = found;
  return [debits_pending, debits_posted, credits_pending, credits_posted].map(Number);
}

async function assertBalances(accountId, ...expected) {
  assert.deepEqual(await balancesOf(accountId), expected, 'debits pending, posted, credits pending, posted');
}

const pay = (fields) => transfer({ id: id(), ledger: LEDGER, ...fields });

chapter('accounts are created, once', async () => {
  const accounts = [
    account({ id: BANK, ledger: LEDGER, code: 1, user_data_64: 11n }),
    account({ id: ANN, ledger: LEDGER, code: 2, user_data_64: 22n, flags: AccountFlags.history }),
    account({
      id: BOB, ledger: LEDGER, code: 2, user_data_128: 5n, flags: AccountFlags.debits_must_not_exceed_credits,
    }),
    account({ id: SHOP, ledger: LEDGER, code: 3, user_data_32: 9 }),
  ];
  const results = await client.createAccounts(accounts);
  assertAccounts(results, 'created', 'created', 'created', 'created');
  for (let i = 1; i < results.length; i++) assert.equal(results[i].timestamp, results[i - 1].timestamp + 1n);
  const again = await client.createAccounts(accounts);
  assertAccounts(again, 'exists', 'exists', 'exists', 'exists');
  assert.deepEqual(again.map((r) => r.timestamp), results.map((r) => r.timestamp));
  assert.deepEqual(
    await client.lookupAccounts([ANN, 99n, BANK]),
    [{ ...accounts[1], timestamp: results[1].timestamp }, { ...accounts[0], timestamp: results[0].timestamp }],
  );
});

chapter('accounts with mistakes are rejected, by precedence', async () => {
  const both = AccountFlags.debits_must_not_exceed_credits | AccountFlags.credits_must_not_exceed_debits;
  assertAccounts(
    await client.createAccounts([
      account({ id: 0n }),
      account({ id: amount_max }),
      account({ id: 50n, flags: both, ledger: 0 }),
      account({ id: 50n, ledger: 0, code: 0 }),
      account({ id: 50n, code: 0 }),
      account({ id: 50n, credits_posted: 1n }),
      account({ id: 50n, timestamp: 1n }),
      account({ id: ANN, ledger: LEDGER, code: 2, user_data_64: 23n, flags: AccountFlags.history }),
      account({ id: ANN, ledger: LEDGER, code: 3, user_data_64: 22n, flags: AccountFlags.history }),
    ]),
    'id_must_not_be_zero', 'id_must_not_be_int_max', 'flags_are_mutually_exclusive', 'ledger_must_not_be_zero',
    'code_must_not_be_zero', 'credits_posted_must_be_zero', 'timestamp_must_be_zero',
    'exists_with_different_user_data_64', 'exists_with_different_code',
  );
  assert.deepEqual(await client.lookupAccounts([50n]), []);
});

chapter('money moves, and what is wrong moves none', async () => {
  const funding = [
    pay({ debit_account_id: BANK, credit_account_id: ANN, amount: 1000n, user_data_64: 1n }),
    pay({ debit_account_id: BANK, credit_account_id: BOB, amount: 500n, user_data_64: 2n }),
  ];
  const results = await client.createTransfers(funding);
  assertTransfers(results, 'created', 'created');
  await assertBalances(BANK, 0, 1500, 0, 0);
  await assertBalances(ANN, 0, 0, 0, 1000);
  await assertBalances(BOB, 0, 0, 0, 500);

  assertTransfers(await client.createTransfers(funding), 'exists', 'exists');
  assertTransfers(
    await client.createTransfers([
      { ...funding[0], amount: 1001n },
      pay({ debit_account_id: ANN, credit_account_id: ANN, amount: 1n }),
      pay({ debit_account_id: ANN, credit_account_id: SHOP, amount: 1n, ledger: 0 }),
      pay({ debit_account_id: ANN, credit_account_id: SHOP, amount: 1n, ledger: 701 }),
      pay({ debit_account_id: ANN, credit_account_id: 999n, amount: 1n }),
      pay({ debit_account_id: ANN, credit_account_id: SHOP, amount: 1n, timeout: 5 }),
    ]),
    'exists_with_different_amount', 'accounts_must_be_different', 'ledger_must_not_be_zero',
    'transfer_must_have_the_same_ledger_as_accounts', 'credit_account_not_found',
    'timeout_reserved_for_pending_transfer',
  );
  await assertBalances(ANN, 0, 0, 0, 1000);

  const found = await client.lookupTransfers([funding[1].id, 12345n, funding[0].id]);
  assert.deepEqual(found, [
    { ...funding[1], timestamp: results[1].timestamp },
    { ...funding[0], timestamp: results[0].timestamp },
  ]);
});

chapter('a limit holds, and the id that failed is burnt', async () => {
  const tooMuch = pay({ debit_account_id: BOB, credit_account_id: SHOP, amount: 501n });
  assertTransfers(await client.createTransfers([tooMuch]), 'exceeds_credits');
  await assertBalances(BOB, 0, 0, 0, 500);
  assertTransfers(await client.createTransfers([{ ...tooMuch, amount: 1n }]), 'id_already_failed');
  assert.deepEqual(await client.lookupTransfers([tooMuch.id]), []);
});

chapter('a linked chain happens whole or not at all', async () => {
  const step = (fields) => pay({ debit_account_id: ANN, credit_account_id: SHOP, amount: 10n, ...fields });
  assertTransfers(
    await client.createTransfers([
      step({ flags: TransferFlags.linked }), step({ flags: TransferFlags.linked }), step({}),
      step({ flags: TransferFlags.linked }), step({ flags: TransferFlags.linked, code: 0 }), step({}),
      step({ amount: 1n }),
    ]),
    'created', 'created', 'created', 'linked_event_failed', 'code_must_not_be_zero', 'linked_event_failed', 'created',
  );
  await assertBalances(SHOP, 0, 0, 0, 31);
  assertTransfers(
    await client.createTransfers([step({ flags: TransferFlags.linked }), step({ flags: TransferFlags.linked })]),
    'linked_event_failed', 'linked_event_chain_open',
  );
  await assertBalances(SHOP, 0, 0, 0, 31);
  assertAccounts(
    await client.createAccounts([
      account({ id: 60n, flags: AccountFlags.linked }), account({ id: 61n, flags: AccountFlags.linked, code: 0 }),
      account({ id: 62n }), account({ id: 63n, flags: AccountFlags.linked }), account({ id: 64n }),
    ]),
    'linked_event_failed', 'code_must_not_be_zero', 'linked_event_failed', 'created', 'created',
  );
  assert.deepEqual(ids(await client.lookupAccounts([60n, 61n, 62n, 63n, 64n])), [63n, 64n]);
});

chapter('a pending transfer is posted, in part, or voided, once', async () => {
  const hold = (fields) =>
    pay({ debit_account_id: BOB, credit_account_id: SHOP, amount: 100n, flags: TransferFlags.pending, ...fields });
  const post = TransferFlags.post_pending_transfer;
  const cancel = TransferFlags.void_pending_transfer;
  const [whole, part, voided] = [hold({ user_data_64: 77n }), hold({}), hold({})];
  assertTransfers(await client.createTransfers([whole, part, voided]), 'created', 'created', 'created');
  await assertBalances(BOB, 300, 0, 0, 500);
  // What is pending counts against the limit.
  assertTransfers(
    await client.createTransfers([pay({ debit_account_id: BOB, credit_account_id: SHOP, amount: 201n })]),
    'exceeds_credits',
  );
  const postWhole = resolution({ id: id(), pending_id: whole.id, amount: amount_max, flags: post });
  assertTransfers(
    await client.createTransfers([
      postWhole,
      resolution({ id: id(), pending_id: part.id, amount: 101n, flags: post }),
      resolution({ id: id(), pending_id: part.id, amount: 40n, flags: post }),
      resolution({ id: id(), pending_id: voided.id, amount: 99n, flags: cancel }),
      resolution({ id: id(), pending_id: voided.id, flags: cancel }),
      resolution({ id: id(), pending_id: whole.id, flags: cancel }),
      resolution({ id: id(), pending_id: voided.id, amount: amount_max, flags: post }),
      resolution({ id: id(), pending_id: 424242n, amount: amount_max, flags: post }),
    ]),
    'created', 'exceeds_pending_transfer_amount', 'created', 'pending_transfer_has_different_amount', 'created',
    'pending_transfer_already_posted', 'pending_transfer_already_voided', 'pending_transfer_not_found',
  );
  await assertBalances(BOB, 0, 140, 0, 500);
  await assertBalances(SHOP, 0, 0, 0, 171);
  const [stored] = await client.lookupTransfers([postWhole.id]);
  assert.equal(stored.amount, 100n);
  assert.equal(stored.debit_account_id, BOB);
  assert.equal(stored.ledger, LEDGER);
  assert.equal(stored.user_data_64, 77n, 'inherited from the pending transfer');
});

chapter('the server is killed; the same client goes on', async () => {
  await killAndRestart();
  await assertBalances(BOB, 0, 140, 0, 500);
  assertTransfers(
    await client.createTransfers([pay({ debit_account_id: ANN, credit_account_id: SHOP, amount: 5n })]), 'created',
  );
  await assertBalances(SHOP, 0, 0, 0, 176);
});

chapter('a pending transfer expires by itself, and gives back what it held', async () => {
  const hold = pay({
    debit_account_id: BOB, credit_account_id: SHOP, amount: 60n, flags: TransferFlags.pending, timeout: 1,
  });
  assertTransfers(await client.createTransfers([hold]), 'created');
  await assertBalances(BOB, 60, 140, 0, 500);
  await sleep(1500);
  await assertBalances(BOB, 0, 140, 0, 500);
  assertTransfers(
    await client.createTransfers([
      resolution({ id: id(), pending_id: hold.id, amount: amount_max, flags: TransferFlags.post_pending_transfer }),
    ]),
    'pending_transfer_expired',
  );
});

chapter('a pending transfer whose time came while the server was down expires at the restart', async () => {
  const hold = pay({
    debit_account_id: BOB, credit_account_id: SHOP, amount: 60n, flags: TransferFlags.pending, timeout: 1,
  });
  assertTransfers(await client.createTransfers([hold]), 'created');
  await server.kill();
  await sleep(1100);
  await server.start();
  await sleep(300);
  await assertBalances(BOB, 0, 140, 0, 500);
});

chapter('balancing transfers take what there is', async () => {
  const all = pay({
    debit_account_id: BOB, credit_account_id: SHOP, amount: amount_max, flags: TransferFlags.balancing_debit,
  });
  const none = { ...all, id: id() };
  assertTransfers(await client.createTransfers([all, none]), 'created', 'created');
  const found = await client.lookupTransfers([all.id, none.id]);
  assert.deepEqual(found.map((t) => t.amount), [360n, 0n]);
  await assertBalances(BOB, 0, 500, 0, 500);

  const up = pay({
    debit_account_id: BANK, credit_account_id: 63n, amount: 7n, flags: TransferFlags.balancing_credit,
  });
  assertTransfers(await client.createTransfers([up]), 'accounts_must_have_the_same_ledger');
  const back = pay({
    debit_account_id: SHOP, credit_account_id: BANK, amount: 100n, flags: TransferFlags.balancing_credit,
  });
  assertTransfers(await client.createTransfers([back]), 'created');
  assert.equal((await client.lookupTransfers([back.id]))[0].amount, 100n, 'the bank owes more than that');
});

chapter('a closing transfer closes its account until it is voided', async () => {
  const closing = pay({
    debit_account_id: ANN, credit_account_id: BANK, amount: 0n,
    flags: TransferFlags.pending | TransferFlags.closing_debit,
  });
  assertTransfers(
    await client.createTransfers([
      pay({ debit_account_id: ANN, credit_account_id: BANK, flags: TransferFlags.closing_debit }), closing,
    ]),
    'closing_transfer_must_be_pending', 'created',
  );
  assert.equal((await client.lookupAccounts([ANN]))[0].flags, AccountFlags.history | AccountFlags.closed);
  assertTransfers(
    await client.createTransfers([
      pay({ debit_account_id: ANN, credit_account_id: SHOP, amount: 1n }),
      pay({ debit_account_id: SHOP, credit_account_id: ANN, amount: 1n }),
    ]),
    'debit_account_already_closed', 'credit_account_already_closed',
  );
  await killAndRestart();
  const reopen = resolution({ id: id(), pending_id: closing.id, flags: TransferFlags.void_pending_transfer });
  assertTransfers(
    await client.createTransfers([reopen, pay({ debit_account_id: ANN, credit_account_id: SHOP, amount: 1n })]),
    'created', 'created',
  );
  assert.equal((await client.lookupAccounts([ANN]))[0].flags, AccountFlags.history);
});

chapter('accounts and transfers are imported with timestamps of their own', async () => {
  const everything = await client.queryTransfers(queryFilter({ limit: 1, flags: QueryFilterFlags.reversed }));
  const past = everything[0].timestamp + 1000n;
  const imported = (fields) => account({ ledger: LEDGER, code: 4, flags: AccountFlags.imported, ...fields });
  const accounts = await client.createAccounts([
    imported({ id: 80n, timestamp: past }),
    imported({ id: 81n, timestamp: past + 2n }),
    imported({ id: 82n, timestamp: past + 1n }),
    account({ id: 83n, ledger: LEDGER }),
    imported({ id: 84n, timestamp: 1n << 63n }),
    imported({ id: 85n, timestamp: (1n << 63n) - 1n }),
  ]);
  assertAccounts(
    accounts, 'created', 'created', 'imported_event_timestamp_must_not_regress', 'imported_event_expected',
    'imported_event_timestamp_out_of_range', 'imported_event_timestamp_must_not_advance',
  );
  assert.deepEqual(accounts.slice(0, 2).map((r) => r.timestamp), [past, past + 2n]);

  const move = (fields) =>
    pay({ debit_account_id: 80n, credit_account_id: 81n, amount: 3n, flags: TransferFlags.imported, ...fields });
  const transfers = await client.createTransfers([
    move({ timestamp: past + 1n }),
    move({ timestamp: past + 3n }),
    move({ timestamp: past + 3n }),
    move({ timestamp: past + 4n, flags: TransferFlags.imported | TransferFlags.pending, timeout: 1 }),
    move({ timestamp: 0n, flags: 0 }),
  ]);
  assertTransfers(
    transfers, 'imported_event_timestamp_must_postdate_credit_account', 'created',
    'imported_event_timestamp_must_not_regress', 'imported_event_timeout_must_be_zero', 'imported_event_expected',
  );
  assert.equal(transfers[1].timestamp, past + 3n);
  await assertBalances(81n, 0, 0, 0, 3);
});

chapter('an account tells its transfers, filtered, in both directions, and its balances after each', async () => {
  const ofAnn = (fields) => client.getAccountTransfers(accountFilter({ account_id: ANN, ...fields }));
  const all = await ofAnn({});
  const [debits, credits] = [
    await ofAnn({ flags: AccountFilterFlags.debits }), await ofAnn({ flags: AccountFilterFlags.credits }),
  ];
  assert.ok(debits.every((t) => t.debit_account_id === ANN));
  assert.ok(credits.every((t) => t.credit_account_id === ANN));
  assert.equal(debits.length + credits.length, all.length);
  assert.equal(credits.length, 1);
  // Three of the good chain, one beside the bad one, one after the kill, closing, its void, and one after it.
  assert.equal(debits.length, 8);
  for (let i = 1; i < all.length; i++) assert.ok(all[i].timestamp > all[i - 1].timestamp);
  const both = AccountFilterFlags.debits | AccountFilterFlags.credits;
  assert.deepEqual(await ofAnn({ flags: both | AccountFilterFlags.reversed }), [...all].reverse());
  assert.deepEqual(await ofAnn({ limit: 2 }), all.slice(0, 2));
  assert.deepEqual(await ofAnn({ timestamp_min: all[1].timestamp, timestamp_max: all[3].timestamp }), all.slice(1, 4));
  assert.deepEqual(await ofAnn({ user_data_64: 1n }), all.slice(0, 1));
  assert.deepEqual(await ofAnn({ flags: 0 }), [], 'neither debits nor credits');
  assert.deepEqual(await ofAnn({ limit: 0 }), []);

  const balances = await client.getAccountBalances(accountFilter({ account_id: ANN }));
  assert.deepEqual(balances.map((b) => b.timestamp), all.map((t) => t.timestamp));
  let debited = 0n;
  for (const [i, balance] of balances.entries()) {
    if (all[i].debit_account_id === ANN) debited += all[i].amount;
    assert.equal(balance.debits_posted, debited);
    assert.equal(balance.credits_posted, 1000n);
    assert.equal(balance.debits_pending, 0n, 'the closing transfer held nothing');
  }
  const [ann] = await client.lookupAccounts([ANN]);
  assert.equal(balances.at(-1).debits_posted, ann.debits_posted);
  assert.deepEqual(await client.getAccountBalances(accountFilter({ account_id: BOB })), [], 'kept without history');
});

chapter('queries find accounts and transfers by their fields', async () => {
  const accounts = (fields) => client.queryAccounts(queryFilter(fields));
  const transfers = (fields) => client.queryTransfers(queryFilter(fields));
  assert.deepEqual(ids(await accounts({ ledger: LEDGER })), [BANK, ANN, BOB, SHOP, 80n, 81n]);
  assert.deepEqual(ids(await accounts({ ledger: LEDGER, code: 2 })), [ANN, BOB]);
  assert.deepEqual(ids(await accounts({ user_data_128: 5n })), [BOB]);
  assert.deepEqual(ids(await accounts({ user_data_32: 9 })), [SHOP]);
  assert.deepEqual(ids(await accounts({ user_data_64: 22n, ledger: 1 })), []);
  assert.deepEqual(ids(await accounts({ flags: QueryFilterFlags.reversed, limit: 2, ledger: LEDGER })), [81n, 80n]);
  const all = await transfers({});
  assert.deepEqual(await transfers({ code: 20, limit: 1 }), all.slice(0, 1));
  assert.equal((await transfers({ user_data_64: 77n })).length, 2, 'a pending transfer and its post');
  assert.deepEqual(await transfers({ timestamp_min: all[2].timestamp, limit: 1 }), [all[2]]);
  assert.deepEqual(await transfers({ timestamp_min: 2n, timestamp_max: 1n }), []);
  assert.deepEqual(await transfers({ code: 999 }), []);
});

chapter('calls without events are answered', async () => {
  assert.deepEqual(await client.createAccounts([]), []);
  assert.deepEqual(await client.createTransfers([]), []);
  assert.deepEqual(await client.lookupAccounts([]), []);
  assert.deepEqual(await client.lookupTransfers([]), []);
});

chapter('a full batch is killed in flight, again and again, and happens once', async () => {
  const batches = 6, size = 8189;
  const [, debitedBefore] = await balancesOf(BANK);
  for (let batch = 0; batch < batches; batch++) {
    const events = Array.from({ length: size }, () =>
      pay({ debit_account_id: BANK, credit_account_id: SHOP, amount: 1n, code: 33 }));
    const answer = client.createTransfers(events);
    // From before the server has read it to after the reply has left.
    await sleep(batch * 4);
    await killAndRestart();
    const results = await answer;
    assert.equal(results.length, size);
    assertTransfers(results, ...Array(size).fill('created'));
    assertTransfers(await client.createTransfers(events.slice(0, 3)), 'exists', 'exists', 'exists');
  }
  const [, debitedAfter] = await balancesOf(BANK);
  assert.equal(debitedAfter - debitedBefore, batches * size);
});

chapter('many requests at once from one client keep their order', async () => {
  const answers = await Promise.all(Array.from({ length: 200 }, (_, i) =>
    client.createTransfers([pay({ debit_account_id: BANK, credit_account_id: SHOP, amount: BigInt(i), code: 34 })])));
  const timestamps = answers.map(([result]) => result.timestamp);
  for (let i = 1; i < timestamps.length; i++) assert.ok(timestamps[i] > timestamps[i - 1]);
  const found = await client.queryTransfers(queryFilter({ code: 34 }));
  assert.deepEqual(found.map((t) => Number(t.amount)), Array.from({ length: 200 }, (_, i) => i));
});

chapter('the books balance, also to the program itself, and a clean stop is clean', async () => {
  const online = taelJson('trial-balance', '--to', server.address, '--cluster', `${server.cluster}`, '--json');
  assert.equal(online.balanced, true);
  assert.deepEqual(await server.stop(), { code: 0, signal: null });
  const offline = taelJson('verify', '--json', server.data);
  assert.equal(offline.ok, true);
  assert.equal(offline.balanced, true);
  assert.equal(offline.accounts, 8);
  assert.equal(tael('verify', `${server.data}-missing`).status, 1);
  await server.start();
  assert.equal((await client.lookupAccounts([ANN])).length, 1);
  assert.equal(taelJson('trial-balance', '--to', server.address, '--cluster', `${server.cluster}`, '--json').balanced, true);
});
