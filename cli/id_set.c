#include "cli/id_set.h"

#include <errno.h>
#include <stdlib.h>

#include <tael/assert.h>

enum { SLOTS_FIRST = 1024 };

void tael_id_set_free(struct tael_id_set *set) {
    free(set->slots);
    *set = (struct tael_id_set){0};
}

/* The slot that holds `id`, or the empty one where it belongs. At least one slot is always empty. */
static tael_u128 *slot_of(const struct tael_id_set *set, tael_u128 id) {
    size_t place = (size_t)tael_u128_low(id) & (set->slots_count - 1);
    while (set->slots[place] != 0 && set->slots[place] != id) place = (place + 1) & (set->slots_count - 1);
    return &set->slots[place];
}

static int grow(struct tael_id_set *set) {
    struct tael_id_set grown = {.slots_count = set->slots_count == 0 ? SLOTS_FIRST : 2 * set->slots_count,
                                .count = set->count};
    grown.slots = calloc(grown.slots_count, sizeof *grown.slots);
    if (grown.slots == NULL) return -ENOMEM;
    for (size_t i = 0; i < set->slots_count; i++) {
        if (set->slots[i] != 0) *slot_of(&grown, set->slots[i]) = set->slots[i];
    }
    free(set->slots);
    *set = grown;
    return 0;
}

int tael_id_set_add(struct tael_id_set *set, tael_u128 id) {
    TAEL_ASSERT(id != 0);
    if (2 * (set->count + 1) > set->slots_count) {
        const int error = grow(set);
        if (error != 0) return error;
    }
    tael_u128 *slot = slot_of(set, id);
    if (*slot == id) return 0;
    *slot = id;
    set->count++;
    return 1;
}
