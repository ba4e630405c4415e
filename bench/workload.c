#include "bench/workload.h"

#include <tael/flag.h>

/* A pending transfer is posted when it is between one and two windows old, in a scattered order: by then it has left the
 * caches. A window is a power of two, in pending transfers. */
#define WINDOW 65536u

static uint64_t account_pick(struct tael_bench_workload *workload) {
    /* Scaled, not divided: a fraction of the cost. */
    return 1 + tael_u128_high((tael_u128)test_random_u64(&workload->random) * workload->accounts);
}

static void fill_plain(struct tael_bench_workload *workload, struct tael_transfer *event) {
    const uint64_t debit = account_pick(workload);
    uint64_t credit = account_pick(workload);
    if (credit == debit) credit = debit == workload->accounts ? 1 : debit + 1;
    *event = (struct tael_transfer){
        .id = ++workload->transfers,
        .debit_account_id = debit,
        .credit_account_id = credit,
        .amount = 1 + (debit & 0xff),
        .user_data_64 = workload->transfers,
        .ledger = 1,
        .code = 1,
    };
}

/* Ids alternate: the pending transfer of number n since the restart is pending_first + 2 n, what posts one follows it. */
static void fill_two_phase(struct tael_bench_workload *workload, struct tael_transfer *event) {
    const uint64_t made = workload->transfers + 1 - workload->pending_first;
    const uint64_t number = made / 2;
    fill_plain(workload, event);
    if (made % 2 == 0) {
        event->flags = TAEL_TRANSFER_FLAG_pending;
    } else if (number >= 2 * WINDOW) {
        const uint64_t posted = (number & ~(uint64_t)(WINDOW - 1)) - WINDOW + (number * 40503u & (WINDOW - 1));
        *event = (struct tael_transfer){
            .id = event->id,
            .pending_id = workload->pending_first + 2 * posted,
            .amount = TAEL_U128_MAX,
            .flags = TAEL_TRANSFER_FLAG_post_pending_transfer,
        };
    }
}

void tael_bench_workload_fill(struct tael_bench_workload *workload, struct tael_transfer *events, uint32_t count) {
    for (uint32_t i = 0; i < count; i++) {
        if (workload->mix == TAEL_BENCH_TWO_PHASE) {
            fill_two_phase(workload, &events[i]);
        } else {
            fill_plain(workload, &events[i]);
        }
        if (workload->mix == TAEL_BENCH_CHAINS && i % 4 != 3 && i + 1 < count) {
            events[i].flags = TAEL_TRANSFER_FLAG_linked;
        }
    }
}

void tael_bench_workload_restart(struct tael_bench_workload *workload) {
    workload->pending_first = workload->transfers + 1;
}

void tael_bench_request_begin(struct tael_request *request, enum tael_operation operation, uint32_t events,
                              uint64_t *op, uint64_t *timestamp) {
    *timestamp += events + 1;
    *request = (struct tael_request){
        .client = 1,
        .session = 1,
        .op = ++*op,
        .timestamp = *timestamp,
        .size = tael_request_payload_size(events, 1),
        .event_count = events,
        .batch_count = 1,
        .operation = (uint8_t)operation,
    };
}
