/* The ledger under test, behind a small table of functions: the same rows and stories run against the model (which finds
 * the mistakes of the tests) and against the engine. */
#ifndef TAEL_TESTS_SUBJECT_H
#define TAEL_TESTS_SUBJECT_H

#include <stdbool.h>
#include <stdint.h>

#include <tael/record.h>
#include <tael/request.h>

struct subject_options {
    uint32_t accounts_max;
    uint32_t transfers_max;
    uint32_t hash_bits; /* 0 all; small ones force collisions */
};

struct subject_usage {
    uint64_t accounts;
    uint64_t transfers;
    uint64_t op;
    uint64_t timestamp;
    uint64_t expiry_next;
};

struct subject {
    const char *name;
    void *(*open)(const struct subject_options *options);
    void (*close)(void *ledger);
    /* `results` gets one dense result an event. */
    void (*apply)(void *ledger, const struct tael_request *request, struct tael_create_result *results);
    /* Reads at once; returns the bytes of the reply's body. `reply` has room for TAEL_BODY_SIZE_MAX. */
    uint32_t (*read)(void *ledger, uint8_t operation, const void *body, uint32_t body_size, void *reply);
    tael_u128 (*digest)(const void *ledger);
    bool (*balanced)(void *ledger);
    struct subject_usage (*usage)(const void *ledger);
};

extern const struct subject subject_model;
extern const struct subject subject_engine;

/* Dense results from a request and its exceptions. Fails an assertion where the exceptions are not in order. */
void subject_expand(const struct tael_request *request, const struct tael_exception *exceptions,
                    uint32_t exception_count, struct tael_create_result *results);

#endif
