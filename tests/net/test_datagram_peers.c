/* Who may speak: cookies prove an address, what has not proved it gets no more bytes than it sent, and the table of those that have is
 * bounded.
 * Method: cookies by rows; the table by itself; then the server, from outside. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "io/datagram_cookie.h"
#include "io/datagram_peers.h"
#include "tests/net/datagram_rig.h"
#include "tests/support/random.h"

/* --- cookies --- */

#define PERIOD TAEL_COOKIE_PERIOD_NS
#define MADE_NS (7 * PERIOD + 3)

static const struct tael_cookie_key key = {{1, 2, 3}};
static const struct tael_endpoint maker = {.address = 0x0a000001, .port = 1000, .mac = {2}};

static void test_a_cookie_holds_for_its_endpoint_and_its_time(void **unused) {
    (void)unused;
    static const struct {
        const char *name;
        struct tael_endpoint endpoint;
        uint64_t now_ns;
        uint8_t key_byte;
        int flipped; /* bit of the cookie; -1: none */
        bool holds;
    } rows[] = {
        {"at once", {0x0a000001, 1000, {2}}, MADE_NS, 1, -1, true},
        {"by another way", {0x0a000001, 1000, {3}}, MADE_NS, 1, -1, true},
        {"at the period's end", {0x0a000001, 1000, {2}}, 8 * PERIOD - 1, 1, -1, true},
        {"in the next period", {0x0a000001, 1000, {2}}, 9 * PERIOD - 1, 1, -1, true},
        {"after that", {0x0a000001, 1000, {2}}, 9 * PERIOD, 1, -1, false},
        {"before it was made", {0x0a000001, 1000, {2}}, 7 * PERIOD - 1, 1, -1, false},
        {"at the beginning of time", {0x0a000001, 1000, {2}}, 0, 1, -1, false},
        {"from another address", {0x0a000002, 1000, {2}}, MADE_NS, 1, -1, false},
        {"from another port", {0x0a000001, 1001, {2}}, MADE_NS, 1, -1, false},
        {"after a restart", {0x0a000001, 1000, {2}}, MADE_NS, 9, -1, false},
        {"its first bit flipped", {0x0a000001, 1000, {2}}, MADE_NS, 1, 0, false},
        {"its last bit flipped", {0x0a000001, 1000, {2}}, MADE_NS, 1, 127, false},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        uint8_t cookie[TAEL_COOKIE_SIZE];
        tael_cookie_make(cookie, &key, &maker, MADE_NS);
        if (rows[i].flipped >= 0) cookie[rows[i].flipped / 8] ^= (uint8_t)(1u << rows[i].flipped % 8);
        struct tael_cookie_key other = key;
        other.bytes[0] = rows[i].key_byte;
        if (tael_cookie_check(cookie, &other, &rows[i].endpoint, rows[i].now_ns) != rows[i].holds) {
            fail_msg("%s", rows[i].name);
        }
    }
}

/* --- the table --- */

enum { PEERS = 8, PER_ADDRESS = 3 };

static struct tael_datagram_peers *table_new(struct tael_arena *arena, uint32_t peers_max, uint32_t per_address) {
    *arena = (struct tael_arena){.size = tael_datagram_peers_size_bytes(peers_max)};
    arena->base = aligned_alloc(64, arena->size);
    assert_non_null(arena->base);
    memset(arena->base, 0, arena->size);
    return tael_datagram_peers_init(arena, peers_max, per_address, 99);
}

static struct tael_datagram_peer *find(struct tael_datagram_peers *peers, uint32_t address, uint16_t port) {
    const struct tael_endpoint endpoint = {.address = address, .port = port};
    return tael_datagram_peers_find(peers, &endpoint, tael_datagram_peers_hash(peers, &endpoint));
}

static struct tael_datagram_peer *enter(struct tael_datagram_peers *peers, uint32_t address, uint16_t port,
                                        uint64_t now_ns) {
    const struct tael_endpoint endpoint = {.address = address, .port = port};
    bool evicted;
    return tael_datagram_peers_enter(peers, &endpoint, now_ns, &evicted);
}

static void test_who_was_not_heard_longest_goes_first(void **unused) {
    (void)unused;
    struct tael_arena arena;
    struct tael_datagram_peers *peers = table_new(&arena, PEERS, PER_ADDRESS);
    for (uint32_t i = 0; i < PEERS; i++) (void)enter(peers, 100 + i, 1, i * RIG_S);
    assert_int_equal(tael_datagram_peers_count(peers), PEERS);
    struct tael_datagram_peer *first = find(peers, 100, 1);
    tael_datagram_peers_heard(peers, first, &first->endpoint, 100 * RIG_S);
    const tael_connection second = tael_datagram_peers_handle(peers, find(peers, 101, 1));
    assert_non_null(tael_datagram_peers_get(peers, second));
    (void)enter(peers, 200, 1, 101 * RIG_S);
    assert_null(find(peers, 101, 1));
    assert_null(tael_datagram_peers_get(peers, second)); /* though its place has somebody */
    assert_ptr_equal(find(peers, 100, 1), first);
    assert_non_null(find(peers, 200, 1));
    assert_int_equal(tael_datagram_peers_count(peers), PEERS);
    free(arena.base);
}

static void test_an_address_with_its_share_makes_room_itself(void **unused) {
    (void)unused;
    struct tael_arena arena;
    struct tael_datagram_peers *peers = table_new(&arena, PEERS, PER_ADDRESS);
    (void)enter(peers, 1, 1, 0);
    for (uint16_t port = 1; port <= 100; port++) (void)enter(peers, 2, port, port * RIG_S);
    assert_non_null(find(peers, 1, 1)); /* the oldest of all, and another's */
    assert_int_equal(tael_datagram_peers_count(peers), 1 + PER_ADDRESS);
    for (uint16_t port = 1; port <= 100; port++) {
        if ((find(peers, 2, port) != NULL) != (port > 100 - PER_ADDRESS)) fail_msg("port %d", port);
    }
    free(arena.base);
}

static void test_a_stale_handle_finds_nobody(void **unused) {
    (void)unused;
    struct tael_arena arena;
    struct tael_datagram_peers *peers = table_new(&arena, 1, 1);
    tael_connection handles[50];
    for (uint32_t i = 0; i < 50; i++) {
        handles[i] = tael_datagram_peers_handle(peers, enter(peers, i, 1, i));
        assert_int_not_equal(handles[i], TAEL_CONNECTION_NONE);
        for (uint32_t j = 0; j < i; j++) assert_null(tael_datagram_peers_get(peers, handles[j]));
        assert_non_null(tael_datagram_peers_get(peers, handles[i]));
    }
    assert_null(tael_datagram_peers_get(peers, TAEL_CONNECTION_NONE));
    assert_null(tael_datagram_peers_get(peers, UINT64_MAX));
    assert_null(tael_datagram_peers_get(peers, (uint64_t)1 << 32 | 1));
    free(arena.base);
}

/* Against an array that is searched from its beginning. */
static void test_the_table_equals_a_list(void **unused) {
    (void)unused;
    enum { MAX = 32, SHARE = 5, STEPS = 50000 };
    struct {
        uint32_t address;
        uint16_t port;
        uint64_t heard;
    } known[MAX];
    uint32_t count = 0;
    struct tael_arena arena;
    struct tael_datagram_peers *peers = table_new(&arena, MAX, SHARE);
    struct test_random random = {1};
    for (uint64_t now = RIG_S; now < (1 + STEPS) * RIG_S; now += RIG_S) {
        const uint32_t address = (uint32_t)test_random_below(&random, 12);
        const uint16_t port = (uint16_t)test_random_below(&random, 8);
        uint32_t at = 0;
        while (at < count && (known[at].address != address || known[at].port != port)) at++;
        struct tael_datagram_peer *peer = find(peers, address, port);
        assert_int_equal(peer != NULL, at < count);
        if (peer != NULL) {
            tael_datagram_peers_heard(peers, peer, &peer->endpoint, now);
            known[at].heard = now;
            continue;
        }
        uint32_t of_address = 0;
        for (uint32_t i = 0; i < count; i++) of_address += known[i].address == address;
        if (of_address == SHARE || count == MAX) {
            uint32_t oldest = MAX;
            for (uint32_t i = 0; i < count; i++) {
                if (of_address == SHARE && known[i].address != address) continue;
                if (oldest == MAX || known[i].heard < known[oldest].heard) oldest = i;
            }
            known[oldest] = known[--count];
        }
        known[count].address = address;
        known[count].port = port;
        known[count].heard = now;
        count++;
        (void)enter(peers, address, port, now);
        assert_int_equal(tael_datagram_peers_count(peers), count);
    }
    free(arena.base);
}

/* --- from outside --- */

static void test_hello_cookie_hello_welcome(void **unused) {
    (void)unused;
    struct rig rig;
    const struct tael_datagram_server_options options = rig_options();
    rig_start(&rig, &options);
    const struct tael_endpoint endpoint = rig_endpoint(1);
    static const uint8_t none[16];
    rig_hello(&rig, &endpoint, none, 9000, 10);
    assert_int_equal(tael_datagram_server_peers(rig.server), 0);
    struct rig_sent *cookie = rig_take(&rig);
    assert_int_equal(cookie->view.header.kind, TAEL_DATAGRAM_COOKIE);
    assert_memory_equal(&cookie->to, &endpoint, sizeof endpoint);
    rig_hello(&rig, &endpoint, cookie->view.part, 9000, 10);
    struct rig_sent *sent = rig_take(&rig);
    assert_int_equal(sent->view.header.kind, TAEL_DATAGRAM_WELCOME);
    struct tael_datagram_welcome welcome;
    memcpy(&welcome, sent->view.part, sizeof welcome);
    assert_int_equal(welcome.datagram_max, options.datagram_max);
    assert_int_equal(welcome.window, options.window);
    assert_int_equal(welcome.slots_max, TAEL_SLOTS_MAX);
    assert_int_equal(tael_datagram_server_peers(rig.server), 1);
    rig_done(sent);
    /* From elsewhere the same cookie is worth nothing; nor later. */
    const struct tael_endpoint other = rig_endpoint(2);
    rig_hello(&rig, &other, cookie->view.part, 9000, 10);
    rig.now_ns += 3 * TAEL_COOKIE_PERIOD_NS;
    rig_hello(&rig, &endpoint, cookie->view.part, 9000, 10);
    for (int i = 0; i < 2; i++) {
        sent = rig_take(&rig);
        assert_int_equal(sent->view.header.kind, TAEL_DATAGRAM_COOKIE);
        rig_done(sent);
    }
    assert_int_equal(rig_counters(&rig)->hellos_wrong, 2);
    rig_done(cookie);
    rig_stop(&rig);
}

static void test_a_client_that_takes_less_than_ethernet_is_not_served(void **unused) {
    (void)unused;
    struct rig rig;
    const struct tael_datagram_server_options options = rig_options();
    rig_start(&rig, &options);
    const struct tael_endpoint endpoint = rig_endpoint(1);
    uint8_t cookie[16];
    tael_cookie_make(cookie, &options.cookie_key, &endpoint, rig.now_ns);
    rig_hello(&rig, &endpoint, cookie, TAEL_DATAGRAM_SIZE_ETHERNET - 1, 10);
    assert_int_equal(rig.sent_count, 0);
    assert_int_equal(rig_counters(&rig)->hellos_small, 1);
    rig_stop(&rig);
}

/* Datagrams of every size and kind, sound or not, by an address that nobody knows. */
static void test_who_is_not_known_gets_no_more_than_it_sent(void **unused) {
    (void)unused;
    struct rig rig;
    const struct tael_datagram_server_options options = rig_options();
    rig_start(&rig, &options);
    struct test_random random = {3};
    uint8_t body[TAEL_DATAGRAM_SIZE_MAX] = {0};
    uint32_t answered = 0;
    for (uint32_t i = 0; i < 20000; i++) {
        const struct tael_endpoint from = rig_endpoint(i);
        struct tael_datagram header = {.token = test_random_below(&random, 2),
                                       .ledger = RIG_LEDGER + test_random_once_in(&random, 4),
                                       .client = test_random_below(&random, 4),
                                       .request = (uint32_t)test_random_below(&random, 3),
                                       .kind = (uint8_t)test_random_below(&random, 6),
                                       .operation = (uint8_t)test_random_u64(&random),
                                       .part_units = (uint8_t)test_random_below(&random, 3)};
        if (test_random_once_in(&random, 8)) header.kind = (uint8_t)test_random_between(&random, 128, 135);
        if (test_random_once_in(&random, 4)) header.part_units = 11;
        uint32_t part_size = (uint32_t)test_random_below(&random, 200);
        if (header.kind == TAEL_DATAGRAM_HELLO) part_size = 32;
        if (header.kind == TAEL_DATAGRAM_POLL) part_size = 0;
        if (header.kind == TAEL_DATAGRAM_HAVE_REPLY) part_size = 136;
        header.body_size = part_size + (test_random_once_in(&random, 8) ? 1 : 0);
        const uint64_t in = rig.bytes_in;
        const uint64_t out = rig.bytes_out;
        assert_false(rig_send(&rig, &from, &header, body, part_size));
        assert_true(rig.bytes_out - out <= rig.bytes_in - in);
        answered += rig_discard(&rig);
        /* Of any length, and of another version. */
        const uint32_t size = (uint32_t)test_random_below(&random, 300);
        test_random_bytes(&random, body, size);
        const uint64_t before = rig.bytes_out;
        assert_false(rig_receive(&rig, &from, body, size));
        assert_int_equal(rig.bytes_out, before);
    }
    assert_true(answered > 2000);
    assert_int_equal(tael_datagram_server_peers(rig.server), 0);
    assert_null(rig_message(&rig));
    rig_stop(&rig);
}

static void test_another_ledger_or_version_is_told_once_and_only_to_clients(void **unused) {
    (void)unused;
    struct rig rig;
    const struct tael_datagram_server_options options = rig_options();
    rig_start(&rig, &options);
    const struct tael_endpoint from = rig_endpoint(1);
    struct tael_datagram header = {.ledger = RIG_LEDGER + 1,
                                   .client = 1,
                                   .request = 5,
                                   .kind = TAEL_DATAGRAM_REQUEST,
                                   .operation = TAEL_OPERATION_create_transfers,
                                   .part_units = 1};
    (void)rig_send(&rig, &from, &header, NULL, 0);
    struct rig_sent *sent = rig_take(&rig);
    assert_int_equal(sent->view.header.kind, TAEL_DATAGRAM_NOTICE);
    assert_int_equal(sent->view.header.request, 5);
    assert_int_equal(sent->view.part[0], TAEL_NOTICE_LEDGER);
    assert_int_equal(sent->size, TAEL_DATAGRAM_SIZE_MIN);
    /* What a server of that ledger would say to this: two of them must not go on for ever. */
    header.kind = TAEL_DATAGRAM_NOTICE;
    (void)rig_send(&rig, &from, &header, (uint8_t[32]){0}, 32);
    assert_null(rig_take(&rig));
    assert_int_equal(rig_counters(&rig)->notices_unanswered, 1);
    rig_done(sent);
    rig_stop(&rig);
}

static void test_ten_thousand_peers(void **unused) {
    (void)unused;
    enum { CLIENTS = 10000 };
    struct rig rig;
    struct tael_datagram_server_options options = rig_options();
    options.peers_max = 16384;
    rig_start(&rig, &options);
    for (uint32_t i = 0; i < CLIENTS; i++) {
        const struct tael_endpoint endpoint = rig_endpoint(i);
        rig_open(&rig, &endpoint, TAEL_DATAGRAM_SIZE_ETHERNET, 16);
    }
    assert_int_equal(tael_datagram_server_peers(rig.server), CLIENTS);
    const uint8_t body[TAEL_RECORD_SIZE] = {1};
    for (uint32_t i = 0; i < CLIENTS; i++) {
        const struct tael_endpoint endpoint = rig_endpoint(i);
        const struct tael_datagram header = {.token = 1000 + i,
                                             .ledger = RIG_LEDGER,
                                             .client = i + 1,
                                             .request = 1,
                                             .body_size = sizeof body,
                                             .flags = TAEL_DATAGRAM_ONE_BATCH,
                                             .kind = TAEL_DATAGRAM_REQUEST,
                                             .operation = TAEL_OPERATION_create_transfers,
                                             .part_units = 11};
        assert_true(rig_send(&rig, &endpoint, &header, body, sizeof body));
        struct tael_message *message = rig_message(&rig);
        assert_true(message->client == i + 1);
        assert_true(rig_reply(&rig, message, 16, i));
        rig_release(&rig, message);
        (void)rig_turn(&rig, 1000);
        struct rig_sent *sent = rig_take(&rig);
        assert_memory_equal(&sent->to, &endpoint, sizeof endpoint);
        assert_int_equal(sent->view.header.token, 1000 + i);
        assert_int_equal(sent->view.header.op, i);
        rig_done(sent);
    }
    assert_int_equal(rig_counters(&rig)->peers_evicted, 0);
    rig_stop(&rig);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_cookie_holds_for_its_endpoint_and_its_time),
        cmocka_unit_test(test_who_was_not_heard_longest_goes_first),
        cmocka_unit_test(test_an_address_with_its_share_makes_room_itself),
        cmocka_unit_test(test_a_stale_handle_finds_nobody),
        cmocka_unit_test(test_the_table_equals_a_list),
        cmocka_unit_test(test_hello_cookie_hello_welcome),
        cmocka_unit_test(test_a_client_that_takes_less_than_ethernet_is_not_served),
        cmocka_unit_test(test_who_is_not_known_gets_no_more_than_it_sent),
        cmocka_unit_test(test_another_ledger_or_version_is_told_once_and_only_to_clients),
        cmocka_unit_test(test_ten_thousand_peers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
