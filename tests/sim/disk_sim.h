/* A simulated disk: everything that a real one may do to what was not synced, from a seed.
 *
 * 1. What was written is seen by reads at once, but is durable only by a durable write or a sync of its file that was
 *    asked for after the write had completed. The same goes for names and a sync of their directory.
 * 2. At a power cut each write that is not durable, in flight or complete, is by lot kept, lost, torn (some of its 512-byte
 *    sectors arrive) or garbled (some of them arrive as noise). Changes of names arrive up to some point, in their order.
 * 3. When only the process ends, what was complete stays as it was and is still not durable; what was in flight is
 *    carried out or not.
 * 4. Asynchronous requests complete in any order. The data of a write must not change until then, which is checked.
 * 5. The power can be made to fail in the middle of anything: from then on everything fails, until disk_sim_crash. */
#ifndef TAEL_TESTS_DISK_SIM_H
#define TAEL_TESTS_DISK_SIM_H

#include <stdbool.h>
#include <stdint.h>

#include "persist/disk.h"

struct disk_sim;

enum disk_sim_crash { DISK_SIM_CRASH_POWER, DISK_SIM_CRASH_PROCESS };

struct disk_sim *disk_sim_new(uint64_t seed, uint64_t capacity_bytes);
void disk_sim_free(struct disk_sim *sim);
struct tael_disk *disk_sim_disk(struct disk_sim *sim);

/* Completes one request by lot; false where none is in flight. */
bool disk_sim_step(struct disk_sim *sim);

/* The end of a process: forgets its open files, its lock and its requests (none is told). */
void disk_sim_crash(struct disk_sim *sim, enum disk_sim_crash crash);

/* The power fails after this many more calls and completions; UINT64_MAX never. */
void disk_sim_fail_after(struct disk_sim *sim, uint64_t operations);
bool disk_sim_is_down(const struct disk_sim *sim);

/* One in `once_in` writes of blocks fails or comes up short; 0 none. */
void disk_sim_set_write_errors(struct disk_sim *sim, uint64_t once_in);
/* Reads that touch this byte of this file fail; NULL none. */
void disk_sim_set_read_error(struct disk_sim *sim, const char *name, uint64_t offset);
void disk_sim_set_capacity(struct disk_sim *sim, uint64_t capacity_bytes);
/* No file can be made: the process has too many open. */
void disk_sim_set_files_short(struct disk_sim *sim, bool files_short);

/* Rot: flips one bit, durably. */
void disk_sim_flip_bit(struct disk_sim *sim, const char *name, uint64_t offset, uint32_t bit);
/* Reads and writes past all faults, durably, any size and offset; for tests that make a log of their own. */
void disk_sim_peek(struct disk_sim *sim, const char *name, void *buffer, uint64_t size, uint64_t offset);
void disk_sim_poke(struct disk_sim *sim, const char *name, const void *buffer, uint64_t size, uint64_t offset);
/* True where a file of this name is there. */
bool disk_sim_exists(struct disk_sim *sim, const char *name);
/* A checksum over all names and contents: tells whether anything changed. */
uint64_t disk_sim_checksum(struct disk_sim *sim);

#endif
