/* Bodies of requests: the multi-batch encoding byte by byte, and what the check of a read's body refuses. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <tael/flag.h>
#include <tael/operation.h>
#include <tael/record.h>

#include "engine/query.h"

#define COUNT_OF(array) ((uint32_t)(sizeof(array) / sizeof(array)[0]))

/* --- the encoding --- */

static void test_one_batch_of_one_element_is_encoded_as_the_protocol_says(void **state) {
    (void)state;
    uint8_t body[32];
    memset(body, 0xAB, sizeof body);
    assert_int_equal(tael_multi_batch_encode(body, 16, (const uint16_t[]){1}, 1, 16), 32);
    static const uint8_t trailer[16] = {0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF,
                                        0xFF, 0xFF, 0xFF, 0xFF, 1,    0,    1,    0};
    assert_memory_equal(body + 16, trailer, sizeof trailer);
    for (uint32_t i = 0; i < 16; i++) assert_int_equal(body[i], 0xAB);
}

/* The first batch's count stands nearest the end. */
static void test_counts_grow_from_the_end(void **state) {
    (void)state;
    uint8_t body[4 * 16] = {0};
    assert_int_equal(tael_multi_batch_encode(body, 48, (const uint16_t[]){2, 0, 1}, 3, 16), 64);
    static const uint8_t trailer[16] = {0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 1, 0, 0, 0, 2, 0, 3, 0};
    assert_memory_equal(body + 48, trailer, sizeof trailer);
    struct tael_multi_batch batches = {0};
    assert_int_equal(tael_multi_batch_decode(body, 64, 16, &batches), TAEL_MULTI_BATCH_OK);
    assert_int_equal(batches.batch_count, 3);
    assert_int_equal(batches.element_count, 3);
    assert_int_equal(tael_multi_batch_count(&batches, 0), 2);
    assert_int_equal(tael_multi_batch_count(&batches, 1), 0);
    assert_int_equal(tael_multi_batch_count(&batches, 2), 1);
}

static void test_trailer_is_padded_to_the_element(void **state) {
    (void)state;
    static const struct {
        uint32_t batches;
        uint32_t element;
        uint32_t size;
    } rows[] = {
        {1, 8, 8},     {3, 8, 8},     {4, 8, 16},      {1, 16, 16},     {7, 16, 16},         {8, 16, 32},
        {1, 64, 64},   {31, 64, 64},  {32, 64, 128},   {1, 128, 128},   {63, 128, 128},      {64, 128, 256},
        {1, 256, 256}, {1, 384, 384}, {191, 384, 384}, {192, 384, 768}, {65534, 16, 131072},
    };
    for (uint32_t i = 0; i < COUNT_OF(rows); i++) {
        assert_int_equal(tael_multi_batch_trailer_size(rows[i].batches, rows[i].element), rows[i].size);
    }
}

static void test_whatever_is_encoded_is_decoded_again(void **state) {
    (void)state;
    static const uint32_t elements[] = {8, 16, 64, 128};
    uint8_t *body = malloc(TAEL_BODY_SIZE_MAX);
    uint16_t *counts = calloc(TAEL_BATCHES_MAX, sizeof *counts);
    assert_non_null(body);
    assert_non_null(counts);
    static const uint32_t batch_counts[] = {1, 2, 3, 7, 8, 63, 64, 1000, TAEL_BATCHES_MAX};
    for (uint32_t e = 0; e < COUNT_OF(elements); e++) {
        for (uint32_t b = 0; b < COUNT_OF(batch_counts); b++) {
            uint32_t total = 0;
            for (uint32_t i = 0; i < batch_counts[b]; i++) {
                counts[i] = i % 97 == 0 ? (uint16_t)(i % 5) : 0;
                total += counts[i];
            }
            memset(body, 0x11, (size_t)total * elements[e]);
            const uint32_t size =
                tael_multi_batch_encode(body, total * elements[e], counts, batch_counts[b], elements[e]);
            struct tael_multi_batch batches = {0};
            assert_int_equal(tael_multi_batch_decode(body, size, elements[e], &batches), TAEL_MULTI_BATCH_OK);
            assert_int_equal(batches.batch_count, batch_counts[b]);
            assert_int_equal(batches.element_count, total);
            assert_int_equal(batches.payload_size, total * elements[e]);
            assert_ptr_equal(batches.payload, body);
            for (uint32_t i = 0; i < batch_counts[b]; i++) {
                assert_int_equal(tael_multi_batch_count(&batches, i), counts[i]);
            }
        }
    }
    free(counts);
    free(body);
}

static void test_malformed_bodies_are_refused_and_leave_the_result_alone(void **state) {
    (void)state;
    uint8_t good[48] = {0};
    assert_int_equal(tael_multi_batch_encode(good, 32, (const uint16_t[]){1, 1}, 2, 16), 48);
    static const struct {
        uint32_t offset;
        uint8_t value;
    } flaws[] = {
        {46, 0}, /* no batches */
        {46, 1}, /* one batch less: its count is padding, the sum is wrong */
        {46, 3}, /* one more: padding as a count */
        {46, 100}, /* more counts than the body holds */
        {47, 0xFF}, /* 65282 batches */
        {44, 0}, /* the first batch's count too small */
        {44, 2}, /* too large */
        {43, 1}, /* 257 elements in the second */
        {41, 0}, /* padding that is no padding */
        {32, 0xFE}, /* its first byte */
    };
    for (uint32_t i = 0; i < COUNT_OF(flaws); i++) {
        uint8_t body[48];
        memcpy(body, good, sizeof body);
        body[flaws[i].offset] = flaws[i].value;
        struct tael_multi_batch batches = {.batch_count = 12345};
        assert_int_equal(tael_multi_batch_decode(body, 48, 16, &batches), TAEL_MULTI_BATCH_BAD_TRAILER);
        assert_int_equal(batches.batch_count, 12345);
    }
    static const uint32_t sizes[] = {0, 1, 15, 17, 47};
    for (uint32_t i = 0; i < COUNT_OF(sizes); i++) {
        struct tael_multi_batch batches = {.batch_count = 12345};
        assert_int_equal(tael_multi_batch_decode(good, sizes[i], 16, &batches), TAEL_MULTI_BATCH_BAD_SIZE);
        assert_int_equal(batches.batch_count, 12345);
    }
    /* 65535 batches are one too many, however large the body. */
    const uint32_t size = 131072 + 16;
    uint8_t *large = calloc(1, size);
    assert_non_null(large);
    memset(large + size - 2, 0xFF, 2);
    struct tael_multi_batch batches = {0};
    assert_int_equal(tael_multi_batch_decode(large, size, 16, &batches), TAEL_MULTI_BATCH_BAD_TRAILER);
    free(large);
}

/* --- the check of a read's body --- */

static uint8_t body[TAEL_MESSAGE_SIZE_MAX];

/* A framed body of filters with these limits, one a batch. */
static uint32_t filters(uint8_t operation, uint32_t batch_count, uint32_t limit) {
    const uint32_t size = tael_operation_info(operation).event_size;
    uint16_t counts[1024];
    for (uint32_t i = 0; i < batch_count; i++) {
        uint8_t *at = body + (size_t)i * size;
        counts[i] = 1;
        if (size == sizeof(struct tael_account_filter)) {
            const struct tael_account_filter filter = {.account_id = 1, .limit = limit, .flags = 3};
            memcpy(at, &filter, sizeof filter);
        } else {
            const struct tael_query_filter filter = {.limit = limit};
            memcpy(at, &filter, sizeof filter);
        }
    }
    return tael_multi_batch_encode(body, batch_count * size, counts, batch_count, size);
}

static void expect_checked(uint8_t operation, uint32_t body_size, uint32_t eviction, uint32_t reply_size) {
    uint32_t reply_size_max = 0;
    const uint32_t refused = tael_query_body_check(operation, body, body_size, &reply_size_max);
    assert_int_equal(refused, eviction);
    if (eviction == 0) {
        assert_true(reply_size_max >= reply_size);
        assert_true(reply_size_max <= TAEL_BODY_SIZE_MAX);
    }
}

static const uint8_t filter_operations[] = {
    TAEL_OPERATION_get_account_transfers,
    TAEL_OPERATION_get_account_balances,
    TAEL_OPERATION_query_accounts,
    TAEL_OPERATION_query_transfers,
};

static void test_limits_are_capped_and_their_sum_must_fit_one_reply(void **state) {
    (void)state;
    for (uint32_t i = 0; i < COUNT_OF(filter_operations); i++) {
        const uint8_t operation = filter_operations[i];
        expect_checked(operation, filters(operation, 1, 1), 0, 256);
        expect_checked(operation, filters(operation, 1, UINT32_MAX), 0, TAEL_BODY_SIZE_MAX);
        expect_checked(operation, filters(operation, 2, UINT32_MAX), TAEL_EVICTION_INVALID_REQUEST_BODY, 0);
        expect_checked(operation, filters(operation, 2, 4094), 0, 8188 * 128 + 128);
        expect_checked(operation, filters(operation, 2, 4095), TAEL_EVICTION_INVALID_REQUEST_BODY, 0);
        /* Sixty-four batches need a longer trailer. */
        expect_checked(operation, filters(operation, 64, 127), 0, 64 * 127 * 128 + 256);
        expect_checked(operation, filters(operation, 64, 128), TAEL_EVICTION_INVALID_REQUEST_BODY, 0);
    }
}

static void test_filters_come_one_a_batch(void **state) {
    (void)state;
    for (uint32_t i = 0; i < COUNT_OF(filter_operations); i++) {
        const uint32_t size = tael_operation_info(filter_operations[i]).event_size;
        (void)filters(filter_operations[i], 2, 1);
        uint32_t body_size = tael_multi_batch_encode(body, 2 * size, (const uint16_t[]){2}, 1, size);
        expect_checked(filter_operations[i], body_size, TAEL_EVICTION_INVALID_REQUEST_BODY, 0);
        body_size = tael_multi_batch_encode(body, 2 * size, (const uint16_t[]){2, 0}, 2, size);
        expect_checked(filter_operations[i], body_size, TAEL_EVICTION_INVALID_REQUEST_BODY, 0);
        body_size = tael_multi_batch_encode(body, 0, (const uint16_t[]){0}, 1, size);
        expect_checked(filter_operations[i], body_size, TAEL_EVICTION_INVALID_REQUEST_BODY, 0);
        expect_checked(filter_operations[i], size + 1, TAEL_EVICTION_INVALID_REQUEST_BODY_SIZE, 0);
        expect_checked(filter_operations[i], 0, TAEL_EVICTION_INVALID_REQUEST_BODY_SIZE, 0);
    }
}

static void test_lookups_must_fit_one_reply(void **state) {
    (void)state;
    static const uint8_t operations[] = {TAEL_OPERATION_lookup_accounts, TAEL_OPERATION_lookup_transfers};
    memset(body, 0, sizeof body);
    for (uint32_t i = 0; i < 2; i++) {
        uint32_t size = tael_multi_batch_encode(body, 8189 * 16, (const uint16_t[]){8189}, 1, 16);
        expect_checked(operations[i], size, 0, TAEL_BODY_SIZE_MAX);
        size = tael_multi_batch_encode(body, 8190 * 16, (const uint16_t[]){8190}, 1, 16);
        expect_checked(operations[i], size, TAEL_EVICTION_INVALID_REQUEST_BODY, 0);
        size = tael_multi_batch_encode(body, 0, (const uint16_t[]){0}, 1, 16);
        expect_checked(operations[i], size, 0, 128);
        expect_checked(operations[i], 24, TAEL_EVICTION_INVALID_REQUEST_BODY_SIZE, 0);
    }
}

static void test_bare_reads_take_one_filter(void **state) {
    (void)state;
    memset(body, 0, sizeof body);
    const struct tael_change_events_filter filter = {.limit = UINT32_MAX};
    memcpy(body, &filter, sizeof filter);
    expect_checked(TAEL_OPERATION_get_change_events, 64, 0, TAEL_CHANGE_EVENTS_MAX * 384);
    expect_checked(TAEL_OPERATION_get_change_events, 63, TAEL_EVICTION_INVALID_REQUEST_BODY_SIZE, 0);
    expect_checked(TAEL_OPERATION_get_change_events, 65, TAEL_EVICTION_INVALID_REQUEST_BODY_SIZE, 0);
    memset(body, 0, sizeof filter);
    expect_checked(TAEL_OPERATION_trial_balance, 128, 0, 256);
    expect_checked(TAEL_OPERATION_trial_balance, 127, TAEL_EVICTION_INVALID_REQUEST_BODY_SIZE, 0);
    uint32_t unused;
    assert_int_not_equal(tael_query_body_check(TAEL_OPERATION_get_change_events, body, 128, &unused), 0);
    assert_int_not_equal(tael_query_body_check(TAEL_OPERATION_trial_balance, body, 256, &unused), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_one_batch_of_one_element_is_encoded_as_the_protocol_says),
        cmocka_unit_test(test_counts_grow_from_the_end),
        cmocka_unit_test(test_trailer_is_padded_to_the_element),
        cmocka_unit_test(test_whatever_is_encoded_is_decoded_again),
        cmocka_unit_test(test_malformed_bodies_are_refused_and_leave_the_result_alone),
        cmocka_unit_test(test_limits_are_capped_and_their_sum_must_fit_one_reply),
        cmocka_unit_test(test_filters_come_one_a_batch),
        cmocka_unit_test(test_lookups_must_fit_one_reply),
        cmocka_unit_test(test_bare_reads_take_one_filter),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
