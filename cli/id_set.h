/* A set of ids that grows. Ids are hashes already (cli/ach.h), so their low bits are the place; 0 is no member. */
#ifndef TAEL_CLI_ID_SET_H
#define TAEL_CLI_ID_SET_H

#include <stdbool.h>
#include <stddef.h>

#include <tael/u128.h>

struct tael_id_set {
    tael_u128 *slots; /* 0: empty */
    size_t slots_count; /* a power of two, or 0 */
    size_t count;
};

/* A zeroed set is an empty one. */
void tael_id_set_free(struct tael_id_set *set);

/* 1: `id` is new and now a member. 0: it was one already. -ENOMEM. */
int tael_id_set_add(struct tael_id_set *set, tael_u128 id);

#endif
