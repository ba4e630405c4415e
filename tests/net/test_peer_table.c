/* Connections are counted by peer address, and an address that left leaves nothing behind. */
#include "io/peer_table.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { PEERS = 8 };

static struct tael_peer_table *table_new(struct tael_arena *arena) {
    *arena = (struct tael_arena){.size = tael_peer_table_size_bytes(PEERS)};
    arena->base = calloc(1, arena->size);
    assert_non_null(arena->base);
    return tael_peer_table_init(arena, PEERS);
}

static uint32_t enter(struct tael_peer_table *table, const char *text, uint32_t limit) {
    struct tael_address address;
    assert_int_equal(tael_address_parse(text, &address), 0);
    return tael_peer_table_enter(table, &address, limit);
}

static void test_an_address_counts_whatever_its_port(void **unused) {
    (void)unused;
    struct tael_arena arena;
    struct tael_peer_table *table = table_new(&arena);
    const uint32_t peer = enter(table, "10.0.0.1:1", 2);
    assert_int_equal(enter(table, "10.0.0.1:2", 2), peer);
    assert_int_equal(enter(table, "10.0.0.1:3", 2), TAEL_PEER_NONE);
    assert_int_not_equal(enter(table, "10.0.0.2:3", 2), TAEL_PEER_NONE);
    tael_peer_table_leave(table, peer);
    assert_int_equal(enter(table, "10.0.0.1:4", 2), peer);
    free(arena.base);
}

static void test_ipv6_counts_by_its_first_half_and_mapped_ipv4_as_itself(void **unused) {
    (void)unused;
    struct tael_arena arena;
    struct tael_peer_table *table = table_new(&arena);
    const uint32_t peer = enter(table, "[2001:db8:1:2::1]:1", 9);
    assert_int_equal(enter(table, "[2001:db8:1:2:ffff::7]:1", 9), peer);
    assert_int_not_equal(enter(table, "[2001:db8:1:3::1]:1", 9), peer);
    const uint32_t v4 = enter(table, "10.0.0.1:1", 9);
    assert_int_equal(enter(table, "[::ffff:10.0.0.1]:1", 9), v4);
    assert_int_not_equal(enter(table, "[::ffff:10.0.0.2]:1", 9), v4);
    free(arena.base);
}

static void test_peers_that_left_make_room(void **unused) {
    (void)unused;
    struct tael_arena arena;
    struct tael_peer_table *table = table_new(&arena);
    static const char *const addresses[PEERS] = {"10.0.0.1:1", "10.0.0.2:1", "10.0.0.3:1", "10.0.0.4:1",
                                                 "10.0.0.5:1", "10.0.0.6:1", "10.0.0.7:1", "10.0.0.8:1"};
    uint32_t peers[PEERS];
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < PEERS; i++) {
            peers[i] = enter(table, addresses[(i + round) % PEERS], 1);
            assert_int_not_equal(peers[i], TAEL_PEER_NONE);
        }
        for (int i = 0; i < PEERS; i++) assert_int_equal(enter(table, addresses[i], 1), TAEL_PEER_NONE);
        for (int i = 0; i < PEERS; i++) tael_peer_table_leave(table, peers[(i * 3) % PEERS]);
    }
    free(arena.base);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_an_address_counts_whatever_its_port),
        cmocka_unit_test(test_ipv6_counts_by_its_first_half_and_mapped_ipv4_as_itself),
        cmocka_unit_test(test_peers_that_left_make_room),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
