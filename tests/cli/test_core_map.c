/* Which processor runs what: rows for machines and for texts, and what holds on every machine. `test_cli_core_map SEED`
 * repeats a run of the random ones. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "cli/core_map.h"
#include "cli/processor_list.h"
#include "tests/support/random.h"

static uint64_t seed = 1;

static struct tael_topology topology;

enum numbering {
    SPREAD, /* all cores first, then their second threads, as on most machines */
    ADJACENT, /* the threads of a core one behind the other, as on most virtual ones */
};

struct machine {
    uint32_t nodes, cores, threads; /* cores of a node, threads of a core */
    enum numbering numbering;
    const char *allowed; /* NULL: all */
};

static bool list_has(const char *list, uint32_t number) {
    struct tael_processor_span span;
    while (tael_processor_span_read(&list, &span)) {
        if (number >= span.first && number <= span.last) return true;
        if (*list == ',') list++;
    }
    return false;
}

static void machine_describe(const struct machine *machine) {
    const uint32_t cores = machine->nodes * machine->cores;
    topology.count = cores * machine->threads;
    for (uint32_t i = 0; i < topology.count; i++) {
        const uint32_t core = machine->numbering == SPREAD ? i % cores : i / machine->threads;
        topology.processors[i] = (struct tael_processor){
            .number = i,
            .node = core / machine->cores,
            .core = core,
            .is_allowed = machine->allowed == NULL || list_has(machine->allowed, i),
        };
    }
}

static void test_auto_is_the_documented_policy(void **state) {
    (void)state;
    static const struct {
        struct machine machine;
        uint32_t workers;
        const char *map;
        uint32_t crowded;
    } rows[] = {
        /* One node, no second threads, as many workers as are chosen. */
        {{1, 1, 1, SPREAD, NULL}, 0, "net 0, log 0, worker 0", 0},
        {{1, 2, 1, SPREAD, NULL}, 0, "net 0, log 0, worker 1", 0},
        {{1, 3, 1, SPREAD, NULL}, 0, "net 0, log 0, workers 1-2", 0},
        {{1, 4, 1, SPREAD, NULL}, 0, "net 0, log 1, workers 2-3", 0},
        {{1, 6, 1, SPREAD, NULL}, 0, "net 0, log 1, workers 2-5", 0},
        {{1, 8, 1, SPREAD, NULL}, 0, "net 0, log 1, workers 2-7", 0},
        {{1, 16, 1, SPREAD, NULL}, 0, "net 0, log 1, workers 2-13", 0},
        {{1, 32, 1, SPREAD, NULL}, 0, "net 0, log 1, workers 2-13", 0},
        {{1, 64, 1, SPREAD, NULL}, 0, "net 0, log 1, workers 2-13", 0},
        /* What is chosen leaves second threads alone. */
        {{1, 1, 2, SPREAD, NULL}, 0, "net 0, log 0, worker 0", 0},
        {{1, 2, 2, SPREAD, NULL}, 0, "net 0, log 0, worker 1", 0},
        {{1, 2, 2, ADJACENT, NULL}, 0, "net 0, log 0, worker 2", 0},
        {{1, 4, 2, ADJACENT, NULL}, 0, "net 0, log 2, workers 4,6", 0},
        {{1, 8, 2, SPREAD, NULL}, 0, "net 0, log 1, workers 2-7", 0},
        {{1, 2, 4, ADJACENT, NULL}, 0, "net 0, log 0, worker 4", 0},
        /* And stays on one node. */
        {{2, 1, 1, SPREAD, NULL}, 0, "net 0, log 0, worker 0", 0},
        {{2, 2, 1, SPREAD, NULL}, 0, "net 0, log 0, worker 1", 0},
        {{2, 4, 1, SPREAD, NULL}, 0, "net 0, log 1, workers 2-3", 0},
        {{2, 8, 2, SPREAD, NULL}, 0, "net 0, log 1, workers 2-7", 0},
        {{2, 16, 2, SPREAD, NULL}, 0, "net 0, log 1, workers 2-13", 0},
        /* Only what the process may use counts; home is where the first of that is. */
        {{1, 8, 1, SPREAD, "5"}, 0, "net 5, log 5, worker 5", 0},
        {{1, 8, 1, SPREAD, "2,7"}, 0, "net 2, log 2, worker 7", 0},
        {{1, 8, 1, SPREAD, "1-3,6"}, 0, "net 1, log 2, workers 3,6", 0},
        {{2, 4, 1, SPREAD, "3-7"}, 0, "net 3, log 3, worker 3", 0},
        {{2, 4, 1, SPREAD, "4-7"}, 0, "net 4, log 5, workers 6-7", 0},
        {{1, 4, 2, SPREAD, "4-7"}, 0, "net 4, log 5, workers 6-7", 0}, /* the only threads of their cores that it has */
        {{1, 4, 2, SPREAD, "0,4,1,5"}, 0, "net 0, log 0, worker 1", 0},
        /* Asked for: fewer than would be chosen. */
        {{1, 2, 1, SPREAD, NULL}, 1, "net 0, log 0, worker 1", 0},
        {{1, 3, 1, SPREAD, NULL}, 1, "net 0, log 1, worker 2", 0},
        {{1, 8, 1, SPREAD, NULL}, 1, "net 0, log 1, worker 2", 0},
        {{1, 8, 1, SPREAD, NULL}, 4, "net 0, log 1, workers 2-5", 0},
        /* More: net and log move together first, then other nodes' cores come in, then second threads. */
        {{1, 64, 1, SPREAD, NULL}, 62, "net 0, log 1, workers 2-63", 0},
        {{1, 64, 1, SPREAD, NULL}, 63, "net 0, log 0, workers 1-63", 0},
        {{1, 4, 1, SPREAD, NULL}, 3, "net 0, log 0, workers 1-3", 0},
        {{2, 4, 1, SPREAD, NULL}, 3, "net 0, log 0, workers 1-3", 0},
        {{2, 4, 1, SPREAD, NULL}, 4, "net 0, log 1, workers 2-5", 0},
        {{2, 4, 1, SPREAD, "2-7"}, 3, "net 2, log 3, workers 4-6", 0},
        {{2, 4, 2, SPREAD, NULL}, 7, "net 0, log 0, workers 1-7", 0},
        {{2, 4, 2, SPREAD, NULL}, 8, "net 0, log 1, workers 2-9", 0},
        {{2, 4, 2, SPREAD, NULL}, 12, "net 0, log 1, workers 2-13", 0},
        {{2, 4, 2, SPREAD, NULL}, 15, "net 0, log 0, workers 1-15", 0},
        {{2, 2, 2, ADJACENT, NULL}, 5, "net 0, log 0, workers 2,4,6,1,3", 0},
        {{2, 2, 2, ADJACENT, NULL}, 7, "net 0, log 0, workers 2,4,6,1,3,5,7", 0},
        {{1, 4, 2, SPREAD, NULL}, 4, "net 0, log 1, workers 2-5", 0},
        {{1, 4, 2, ADJACENT, NULL}, 4, "net 0, log 2, workers 4,6,1,3", 0},
        /* More than there is: round and round. */
        {{1, 1, 1, SPREAD, NULL}, 1, "net 0, log 0, worker 0", 0},
        {{1, 1, 1, SPREAD, NULL}, 3, "net 0, log 0, workers 0,0,0", 3},
        {{1, 2, 1, SPREAD, NULL}, 2, "net 0, log 0, workers 0-1", 0},
        {{1, 2, 1, SPREAD, NULL}, 4, "net 0, log 0, workers 0-1,0-1", 4},
        {{1, 1, 2, SPREAD, NULL}, 2, "net 0, log 0, workers 0-1", 0},
        {{1, 4, 1, SPREAD, NULL}, 4, "net 0, log 0, workers 0-3", 0},
        {{1, 4, 1, SPREAD, NULL}, 6, "net 0, log 0, workers 0-3,0-1", 4},
        {{1, 64, 1, SPREAD, NULL}, 64, "net 0, log 0, workers 0-63", 0},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        machine_describe(&rows[i].machine);
        struct tael_core_map map;
        tael_core_map_choose(&topology, rows[i].workers, &map);
        char text[TAEL_CORE_MAP_TEXT_SIZE];
        tael_core_map_describe(&map, text, sizeof text);
        if (strcmp(text, rows[i].map) != 0) fail_msg("row %zu: '%s', not '%s'", i, text, rows[i].map);
        if (map.workers_crowded != rows[i].crowded) fail_msg("row %zu: %u are crowded", i, map.workers_crowded);
    }
}

/* On a machine of four processors, of which the last may not be used. */
static const struct machine four = {.nodes = 1, .cores = 4, .threads = 1, .allowed = "0-2"};

static void test_texts_give_each_role_its_processors(void **state) {
    (void)state;
    static const struct {
        const char *text;
        uint32_t workers;
        const char *map;
        uint32_t crowded;
    } rows[] = {
        {"auto", 0, "net 0, log 0, workers 1-2", 0},
        {"auto", 1, "net 0, log 1, worker 2", 0},
        {"auto", 3, "net 0, log 0, workers 0-2", 0},
        {"net=0,log=0,worker=0", 0, "net 0, log 0, worker 0", 0},
        {"net=0,log=1,worker=2", 0, "net 0, log 1, worker 2", 0},
        {"worker=2,log=1,net=0", 1, "net 0, log 1, worker 2", 0},
        {"net=0,log=0,worker=1-2", 0, "net 0, log 0, workers 1-2", 0},
        {"net=0,log=0,worker=1,2", 2, "net 0, log 0, workers 1-2", 0},
        {"net=2-2,worker=2,0-1,log=00", 3, "net 2, log 0, workers 2,0-1", 1},
        {"net=0,log=1,worker=1,0", 0, "net 0, log 1, workers 1,0", 1},
        {"net=0,log=0,worker=1,1,1-2", 0, "net 0, log 0, workers 1,1,1-2", 3},
    };
    machine_describe(&four);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct tael_core_map map;
        struct tael_report report = {""};
        if (!tael_core_map_parse(rows[i].text, &topology, rows[i].workers, &map, &report)) {
            fail_msg("%s: %s", rows[i].text, report.text);
        }
        char text[TAEL_CORE_MAP_TEXT_SIZE];
        tael_core_map_describe(&map, text, sizeof text);
        assert_string_equal(text, rows[i].map);
        assert_int_equal(map.workers_crowded, rows[i].crowded);
    }
}

static void test_refusals_name_the_piece_at_fault(void **state) {
    (void)state;
    static const struct {
        const char *text;
        uint32_t workers;
        const char *report;
    } rows[] = {
        {"", 0, "nothing is given; write auto, or as net=0,log=0,worker=1-3"},
        {"Auto", 0, "'Auto' is no ROLE=PROCESSOR; write auto, or as net=0,log=0,worker=1-3"},
        {"auto,net=0", 0, "'auto' is no ROLE=PROCESSOR; write auto, or as net=0,log=0,worker=1-3"},
        {"0,net=0", 0, "'0' is no ROLE=PROCESSOR; write auto, or as net=0,log=0,worker=1-3"},
        {",net=0", 0, "'' is no ROLE=PROCESSOR; write auto, or as net=0,log=0,worker=1-3"},
        {"net=0,disk=1", 0, "there is no role 'disk'; roles are net, log and worker"},
        {"net=0,workers=1", 0, "there is no role 'workers'; roles are net, log and worker"},
        {"=0", 0, "there is no role ''; roles are net, log and worker"},
        {"net =0", 0, "there is no role 'net '; roles are net, log and worker"},
        {"net=0,log=0,worker=1,net=1", 0, "net is given twice"},
        {"worker=1,worker=2", 0, "worker is given twice"},
        {"net=0,log=0", 0, "worker is missing; write auto, or all of net, log and worker, as net=0,log=0,worker=1-3"},
        {"net=0,worker=1", 0, "log is missing; write auto, or all of net, log and worker, as net=0,log=0,worker=1-3"},
        {"log=0,worker=1", 0, "net is missing; write auto, or all of net, log and worker, as net=0,log=0,worker=1-3"},
        {"net=0,log=", 0, "a processor of log is missing, behind '=' or a comma"},
        {"net=0,log=0,worker=1,", 0, "a processor of worker is missing, behind '=' or a comma"},
        {"net=0,,log=0", 0, "a processor of net is missing, behind '=' or a comma"},
        {"net=0,log=first", 0, "'first' of log is neither a processor, as 2, nor some in a row, as 1-3"},
        {"net=0,log=0,worker=2-1", 0, "'2-1' of worker is neither a processor, as 2, nor some in a row, as 1-3"},
        {"net=0,log=0,worker=1, 2", 0, "' 2' of worker is neither a processor, as 2, nor some in a row, as 1-3"},
        {"net=0=1", 0, "'0=1' of net is neither a processor, as 2, nor some in a row, as 1-3"},
        {"net=4294967296", 0, "'4294967296' of net is neither a processor, as 2, nor some in a row, as 1-3"},
        {"net=4", 0, "processor 4 of 'net=4' does not exist; this process may run on 0-2"},
        {"net=3", 0, "processor 3 of 'net=3' is not allowed; this process may run on 0-2"},
        {"net=0,log=0,worker=1,2-4294967295", 0,
         "processor 3 of '2-4294967295' is not allowed; this process may run on 0-2"},
        {"net=0,1,log=0", 0, "processor 1 of '1' is one too many: net takes 1 at most"},
        {"log=1-2", 0, "processor 2 of 'log=1-2' is one too many: log takes 1 at most"},
        {"net=0,log=0,worker=1", 2, "worker has 1 processor, but --workers says 2"},
        {"net=0,log=0,worker=1-2", 1, "worker has 2 processors, but --workers says 1"},
        {"auto", TAEL_WORKERS_MAX + 1, "65 workers are too many: there can be 64"},
    };
    machine_describe(&four);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct tael_core_map map, before;
        memset(&map, 0xa5, sizeof map);
        memset(&before, 0xa5, sizeof before);
        struct tael_report report = {""};
        if (tael_core_map_parse(rows[i].text, &topology, rows[i].workers, &map, &report)) fail_msg("%s", rows[i].text);
        assert_string_equal(report.text, rows[i].report);
        assert_memory_equal(&map, &before, sizeof map);
    }
}

static void test_sixty_four_workers_can_be_listed_and_no_more(void **state) {
    (void)state;
    const struct machine large = {.nodes = 1, .cores = TAEL_PROCESSORS_MAX, .threads = 1};
    machine_describe(&large);
    struct tael_core_map map;
    struct tael_report report;
    assert_true(tael_core_map_parse("net=0,log=1,worker=100-163", &topology, 64, &map, &report));
    assert_int_equal(map.worker_count, TAEL_WORKERS_MAX);
    assert_int_equal(map.workers[63], 163);
    assert_false(tael_core_map_parse("net=0,log=1,worker=100-164", &topology, 0, &map, &report));
    assert_string_equal(report.text, "processor 164 of 'worker=100-164' is one too many: worker takes 64 at most");
    assert_false(tael_core_map_parse("net=0,log=1,worker=100-163,7", &topology, 0, &map, &report));
    assert_string_equal(report.text, "processor 7 of '7' is one too many: worker takes 64 at most");
}

static void test_the_longest_map_is_described_whole(void **state) {
    (void)state;
    struct tael_core_map map = {.net = 1023, .log = 1022, .worker_count = TAEL_WORKERS_MAX};
    for (uint32_t w = 0; w < TAEL_WORKERS_MAX; w++) map.workers[w] = 1023 - 2 * (w % 8);
    char text[TAEL_CORE_MAP_TEXT_SIZE];
    tael_core_map_describe(&map, text, sizeof text);
    assert_int_equal(strlen(text), strlen("net 1023, log 1022, workers ") + 64 * 5 - 1);
    char less[96];
    tael_core_map_describe(&map, less, sizeof less);
    assert_string_equal(less + strlen(less) - 3, "...");
}

/* --- what holds on every machine --- */

/* Any numbers, nodes and cores; a core stays on its node. */
static void machine_invent(struct test_random *random) {
    const uint32_t cores = (uint32_t)test_random_between(random, 1, 40);
    const uint32_t nodes = (uint32_t)test_random_between(random, 1, 4);
    const uint32_t allowed_percent = (uint32_t)test_random_between(random, 5, 100);
    topology.count = (uint32_t)test_random_between(random, 1, 80);
    uint32_t number = 0;
    for (uint32_t i = 0; i < topology.count; i++) {
        const uint32_t core = (uint32_t)test_random_below(random, cores);
        number += test_random_percent(random, 20) ? (uint32_t)test_random_between(random, 1, 10) : 1;
        topology.processors[i] = (struct tael_processor){
            .number = number,
            .node = core * 7 % nodes,
            .core = core,
            .is_allowed = test_random_percent(random, allowed_percent),
        };
    }
    topology.processors[test_random_below(random, topology.count)].is_allowed = true;
}

/* How many processors there are that may be used, on one node or all (UINT32_MAX), counting one a core or all. */
static uint32_t count_of(uint32_t node, bool by_core) {
    uint32_t count = 0;
    for (uint32_t i = 0; i < topology.count; i++) {
        const struct tael_processor *processor = &topology.processors[i];
        bool counts = processor->is_allowed && (node == UINT32_MAX || processor->node == node);
        for (uint32_t j = 0; by_core && j < i; j++) {
            if (topology.processors[j].is_allowed && topology.processors[j].core == processor->core) counts = false;
        }
        count += counts;
    }
    return count;
}

struct used {
    uint32_t processors, cores;
    bool is_at_home; /* all of them */
};

/* What a map makes use of. Every role's processor has to exist and to be allowed. */
static struct used map_check(const struct tael_core_map *map, uint32_t home) {
    bool processors[TAEL_PROCESSORS_MAX] = {false};
    bool cores[TAEL_PROCESSORS_MAX] = {false};
    struct used used = {.is_at_home = true};
    assert_in_range(map->worker_count, 1, TAEL_WORKERS_MAX);
    for (uint32_t i = 0; i < map->worker_count + 2; i++) {
        const uint32_t number = i == 0 ? map->net : i == 1 ? map->log : map->workers[i - 2];
        const struct tael_processor *processor = tael_topology_find(&topology, number);
        assert_non_null(processor);
        assert_true(processor->is_allowed);
        if (!processors[number]) used.processors++;
        if (!cores[processor->core]) used.cores++;
        processors[number] = cores[processor->core] = true;
        if (processor->node != home) used.is_at_home = false;
    }
    return used;
}

static uint32_t home_of(void) {
    uint32_t i = 0;
    while (!topology.processors[i].is_allowed) i++;
    return topology.processors[i].node;
}

static void map_text_check(const struct tael_core_map *map) {
    char list[TAEL_CORE_MAP_TEXT_SIZE], text[TAEL_CORE_MAP_TEXT_SIZE + 64];
    tael_processor_list_write(map->workers, map->worker_count, list, sizeof list);
    (void)snprintf(text, sizeof text, "worker=%s,net=%u,log=%u", list, map->net, map->log);
    struct tael_core_map again;
    struct tael_report report;
    assert_true(tael_core_map_parse(text, &topology, map->worker_count, &again, &report));
    assert_memory_equal(&again, map, sizeof again);
}

static void test_every_map_is_sound_and_no_wider_than_need_be(void **state) {
    (void)state;
    struct test_random random = {.state = seed};
    for (uint32_t run = 0; run < 5000; run++) {
        machine_invent(&random);
        const uint32_t home = home_of();
        const uint32_t workers = (uint32_t)test_random_below(&random, TAEL_WORKERS_MAX + 1);
        struct tael_core_map map;
        tael_core_map_choose(&topology, workers, &map);
        const struct used used = map_check(&map, home);
        map_text_check(&map);
        if (workers > 0) assert_int_equal(map.worker_count, workers);
        /* Nobody shares while processors lie idle, and all that are used have a role of their own then. */
        const uint32_t processors = count_of(UINT32_MAX, false);
        assert_true(used.processors <= processors);
        if (map.workers_crowded > 0) assert_int_equal(used.processors, processors);
        if (map.workers_crowded == 0 && processors > 1 && used.processors > 1) {
            const uint32_t apart = map.workers[0] == map.net ? 0 : 1 + (map.net != map.log);
            assert_int_equal(used.processors, map.worker_count + apart);
            if (apart == 0) assert_int_equal(used.processors, processors);
        }
        /* Second threads only where cores don't suffice, other nodes only where home's cores don't. */
        if (map.worker_count < count_of(UINT32_MAX, true)) assert_int_equal(used.cores, used.processors);
        if (map.worker_count < count_of(home, true)) assert_true(used.is_at_home);
    }
}

static void test_what_is_chosen_stays_on_cores_at_home_and_can_be_asked_for(void **state) {
    (void)state;
    struct test_random random = {.state = seed};
    for (uint32_t run = 0; run < 5000; run++) {
        machine_invent(&random);
        struct tael_core_map map, asked;
        tael_core_map_choose(&topology, 0, &map);
        const struct used used = map_check(&map, home_of());
        assert_true(used.is_at_home);
        assert_int_equal(used.cores, used.processors);
        assert_int_equal(map.workers_crowded, 0);
        assert_true(map.worker_count <= TAEL_CORE_MAP_WORKERS_CHOSEN_MAX);
        tael_core_map_choose(&topology, map.worker_count, &asked);
        assert_memory_equal(&asked, &map, sizeof map);
    }
}

static void test_no_text_does_harm(void **state) {
    (void)state;
    static const char *const words[] = {"net", "log", "worker", "auto", "=", "=", ",",          ",",
                                        "-",   "0",   "1",      "2",    "3", " ", "99999999999"};
    struct test_random random = {.state = seed};
    machine_describe(&four);
    uint32_t taken = 0;
    for (uint32_t run = 0; run < 50000; run++) {
        char text[256] = "";
        if (test_random_once_in(&random, 2)) strcat(text, "net=0,log=1,worker=2");
        for (uint64_t i = test_random_below(&random, 8); i > 0; i--) {
            strcat(text, words[test_random_below(&random, sizeof words / sizeof words[0])]);
        }
        struct tael_core_map map;
        struct tael_report report = {""};
        const bool is_taken = tael_core_map_parse(text, &topology, 0, &map, &report);
        taken += is_taken;
        if (is_taken) map_check(&map, 0);
        assert_int_equal(report.text[0] == '\0', is_taken);
    }
    assert_true(taken > 1000);
}

int main(int argc, char **argv) {
    if (argc > 1) seed = strtoull(argv[1], NULL, 0);
    printf("seed %llu\n", (unsigned long long)seed);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_auto_is_the_documented_policy),
        cmocka_unit_test(test_texts_give_each_role_its_processors),
        cmocka_unit_test(test_refusals_name_the_piece_at_fault),
        cmocka_unit_test(test_sixty_four_workers_can_be_listed_and_no_more),
        cmocka_unit_test(test_the_longest_map_is_described_whole),
        cmocka_unit_test(test_every_map_is_sound_and_no_wider_than_need_be),
        cmocka_unit_test(test_what_is_chosen_stays_on_cores_at_home_and_can_be_asked_for),
        cmocka_unit_test(test_no_text_does_harm),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
