/* The rules of create_account: the order of its checks, and what it changes. Source: the ledger's semantics, "Order of
 * checks" (docs/rules.md). Pure; owned by one worker. */
#ifndef TAEL_ENGINE_ACCOUNT_RULES_H
#define TAEL_ENGINE_ACCOUNT_RULES_H

#include <tael/status.h>

#include "engine/ledger_state.h"

/* Creates the account or says why not. The checks that events share (linked, imported, timestamps) were made before.
 * `timestamp` is the event's own; on success, and for `exists`, it becomes the account's. */
uint32_t tael_account_create(struct tael_ledger *ledger, const struct tael_account *account, uint64_t *timestamp);

/* Takes the youngest account back, when its chain fails. */
void tael_account_take_back(struct tael_ledger *ledger);

#endif
