// Events and filters with everything zero that a test does not name, and a check of statuses by name.
'use strict';
const assert = require('node:assert/strict');
const { CreateAccountStatus, CreateTransferStatus, AccountFilterFlags } = require('tigerbeetle-node');

const account = (fields) => ({
  id: 0n, debits_pending: 0n, debits_posted: 0n, credits_pending: 0n, credits_posted: 0n, user_data_128: 0n,
  user_data_64: 0n, user_data_32: 0, reserved: 0, ledger: 1, code: 10, flags: 0, timestamp: 0n, ...fields,
});

const transfer = (fields) => ({
  id: 0n, debit_account_id: 0n, credit_account_id: 0n, amount: 0n, pending_id: 0n, user_data_128: 0n,
  user_data_64: 0n, user_data_32: 0, timeout: 0, ledger: 1, code: 20, flags: 0, timestamp: 0n, ...fields,
});

// A post or void: accounts, ledger and code come from the pending transfer.
const resolution = (fields) => transfer({ ledger: 0, code: 0, ...fields });

const accountFilter = (fields) => ({
  account_id: 0n, user_data_128: 0n, user_data_64: 0n, user_data_32: 0, code: 0, timestamp_min: 0n, timestamp_max: 0n,
  limit: 8189, flags: AccountFilterFlags.debits | AccountFilterFlags.credits, ...fields,
});

const queryFilter = (fields) => ({
  user_data_128: 0n, user_data_64: 0n, user_data_32: 0, ledger: 0, code: 0, timestamp_min: 0n, timestamp_max: 0n,
  limit: 8189, flags: 0, ...fields,
});

const assertAccounts = (results, ...names) =>
  assert.deepEqual(results.map((result) => CreateAccountStatus[result.status]), names);

const assertTransfers = (results, ...names) =>
  assert.deepEqual(results.map((result) => CreateTransferStatus[result.status]), names);

const ids = (records) => records.map((record) => record.id);

module.exports = {
  account, transfer, resolution, accountFilter, queryFilter, assertAccounts, assertTransfers, ids,
};
