/* What is read of a machine: from files like the kernel's, from files that lack most of it, and from this machine. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <ftw.h>
#include <sys/stat.h>

#include "cli/topology.h"

struct machine {
    char path[64]; /* of what stands for /sys/devices/system */
};

static struct machine machine_make(void) {
    struct machine machine = {.path = "/tmp/tael_topology_XXXXXX"};
    assert_non_null(mkdtemp(machine.path));
    return machine;
}

/* Writes a file and makes the directories on the way to it. */
static void file_write(const struct machine *machine, const char *name, const char *contents) {
    char path[256];
    (void)snprintf(path, sizeof path, "%s/%s", machine->path, name);
    for (char *at = path + strlen(machine->path) + 1; (at = strchr(at, '/')) != NULL; at++) {
        *at = '\0';
        (void)mkdir(path, 0700);
        *at = '/';
    }
    FILE *file = fopen(path, "we");
    assert_non_null(file);
    assert_true(fputs(contents, file) >= 0);
    assert_int_equal(fclose(file), 0);
}

static int entry_remove(const char *path, const struct stat *status, int kind, struct FTW *place) {
    (void)status;
    (void)kind;
    (void)place;
    return remove(path);
}

static void machine_remove(const struct machine *machine) {
    assert_int_equal(nftw(machine->path, entry_remove, 8, FTW_DEPTH | FTW_PHYS), 0);
}

static cpu_set_t set_of(uint32_t first, uint32_t last) {
    cpu_set_t set;
    CPU_ZERO(&set);
    for (uint32_t i = first; i <= last; i++) CPU_SET(i, &set);
    return set;
}

static void check(const struct tael_topology *topology, uint32_t index, struct tael_processor wanted) {
    assert_true(index < topology->count);
    const struct tael_processor *processor = &topology->processors[index];
    assert_int_equal(processor->number, wanted.number);
    assert_int_equal(processor->node, wanted.node);
    assert_int_equal(processor->core, wanted.core);
    assert_int_equal(processor->is_allowed, wanted.is_allowed);
}

static struct tael_topology topology;

static void test_cores_nodes_and_permission_are_read(void **state) {
    (void)state;
    const struct machine machine = machine_make();
    file_write(&machine, "cpu/online", "0-4,6-7\n"); /* 5 is off */
    file_write(&machine, "node/online", "0,2\n");
    file_write(&machine, "node/node0/cpulist", "0-1,4\n");
    file_write(&machine, "node/node2/cpulist", "2-3,6-7\n");
    static const char *const siblings[] = {"0,4\n", "1\n", "2,6\n", "3,7\n", "0,4\n", NULL, "2,6\n", "3,7\n"};
    for (uint32_t i = 0; i < 8; i++) {
        char name[64];
        (void)snprintf(name, sizeof name, "cpu/cpu%u/topology/core_cpus_list", i);
        if (siblings[i] != NULL) file_write(&machine, name, siblings[i]);
    }
    const cpu_set_t allowed = set_of(1, 4);
    tael_topology_read_from(&topology, machine.path, &allowed);
    machine_remove(&machine);
    assert_int_equal(topology.count, 7);
    check(&topology, 0, (struct tael_processor){.number = 0, .node = 0, .core = 0, .is_allowed = false});
    check(&topology, 1, (struct tael_processor){.number = 1, .node = 0, .core = 1, .is_allowed = true});
    check(&topology, 2, (struct tael_processor){.number = 2, .node = 2, .core = 2, .is_allowed = true});
    check(&topology, 3, (struct tael_processor){.number = 3, .node = 2, .core = 3, .is_allowed = true});
    check(&topology, 4, (struct tael_processor){.number = 4, .node = 0, .core = 0, .is_allowed = true});
    check(&topology, 5, (struct tael_processor){.number = 6, .node = 2, .core = 2, .is_allowed = false});
    check(&topology, 6, (struct tael_processor){.number = 7, .node = 2, .core = 3, .is_allowed = false});
    assert_ptr_equal(tael_topology_find(&topology, 6), &topology.processors[5]);
    assert_null(tael_topology_find(&topology, 5));
}

static void test_without_the_kernels_files_each_processor_is_a_core_on_one_node(void **state) {
    (void)state;
    const cpu_set_t allowed = set_of(2, 4);
    tael_topology_read_from(&topology, "/nonexistent", &allowed);
    assert_int_equal(topology.count, 3);
    for (uint32_t i = 0; i < 3; i++) {
        check(&topology, i, (struct tael_processor){.number = 2 + i, .core = 2 + i, .is_allowed = true});
    }
}

static void test_files_that_make_no_sense_are_passed_over(void **state) {
    (void)state;
    const struct machine machine = machine_make();
    file_write(&machine, "cpu/online", "");
    file_write(&machine, "node/online", "0-1,many\n");
    file_write(&machine, "node/node1/cpulist", "1,5000-4294967295\n");
    file_write(&machine, "cpu/cpu0/topology/core_cpus_list", "\n");
    file_write(&machine, "cpu/cpu1/topology/core_cpus_list", "none\n");
    const cpu_set_t allowed = set_of(0, 1);
    tael_topology_read_from(&topology, machine.path, &allowed);
    machine_remove(&machine);
    assert_int_equal(topology.count, 2);
    check(&topology, 0, (struct tael_processor){.number = 0, .node = 0, .core = 0, .is_allowed = true});
    check(&topology, 1, (struct tael_processor){.number = 1, .node = 1, .core = 1, .is_allowed = true});
}

static void test_as_many_processors_as_are_described_are_read(void **state) {
    (void)state;
    const cpu_set_t allowed = set_of(0, TAEL_PROCESSORS_MAX - 1);
    tael_topology_read_from(&topology, "/nonexistent", &allowed);
    assert_int_equal(topology.count, TAEL_PROCESSORS_MAX);
    assert_non_null(tael_topology_find(&topology, TAEL_PROCESSORS_MAX - 1));
}

static void test_this_machine_is_read_as_the_scheduler_has_it(void **state) {
    (void)state;
    cpu_set_t allowed;
    assert_int_equal(sched_getaffinity(0, sizeof allowed, &allowed), 0);
    assert_int_equal(tael_topology_read(&topology), 0);
    int count = 0;
    for (uint32_t i = 0; i < topology.count; i++) {
        const struct tael_processor *processor = &topology.processors[i];
        assert_int_equal(processor->is_allowed, CPU_ISSET(processor->number, &allowed) != 0);
        assert_true(processor->core <= processor->number);
        if (i > 0) assert_true(processor->number > topology.processors[i - 1].number);
        count += processor->is_allowed;
    }
    assert_int_equal(count, CPU_COUNT(&allowed));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cores_nodes_and_permission_are_read),
        cmocka_unit_test(test_without_the_kernels_files_each_processor_is_a_core_on_one_node),
        cmocka_unit_test(test_files_that_make_no_sense_are_passed_over),
        cmocka_unit_test(test_as_many_processors_as_are_described_are_read),
        cmocka_unit_test(test_this_machine_is_read_as_the_scheduler_has_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
