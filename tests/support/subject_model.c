/* The model as the ledger under test. */
#include "tests/model/model.h"
#include "tests/support/subject.h"

static void *open_model(const struct subject_options *options) {
    (void)options;
    return tael_model_new();
}

static void close_model(void *ledger) { tael_model_free(ledger); }

static void apply(void *ledger, const struct tael_request *request, struct tael_create_result *results) {
    tael_model_apply(ledger, request, results);
}

static uint32_t read_model(void *ledger, uint8_t operation, const void *body, uint32_t body_size, void *reply) {
    return tael_model_read(ledger, operation, body, body_size, reply);
}

static tael_u128 digest(const void *ledger) { return tael_model_digest(ledger); }

static bool balanced(void *ledger) { return tael_model_balanced(ledger); }

static struct subject_usage usage(const void *ledger) {
    const struct tael_model_usage is = tael_model_usage(ledger);
    return (struct subject_usage){is.accounts, is.transfers, is.op, is.timestamp, is.expiry_next};
}

const struct subject subject_model = {
    .name = "model",
    .open = open_model,
    .close = close_model,
    .apply = apply,
    .read = read_model,
    .digest = digest,
    .balanced = balanced,
    .usage = usage,
};
