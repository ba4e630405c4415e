#include "io/faults.h"

#include <errno.h>
#include <string.h>

#include <tael/assert.h>

#define BEHIND_MAX 8 /* datagrams that pass one that is held back */

/* --- options --- */

/* The digits at `text`, up to a comma or the end; NULL: there are none, or too many. */
static const char *number_read(const char *text, uint64_t *out) {
    uint64_t number = 0;
    if (*text < '0' || *text > '9') return NULL;
    for (; *text >= '0' && *text <= '9'; text++) {
        if (__builtin_mul_overflow(number, (uint64_t)10, &number)) return NULL;
        if (__builtin_add_overflow(number, (uint64_t)(*text - '0'), &number)) return NULL;
    }
    if (*text != ',' && *text != '\0') return NULL;
    *out = number;
    return text;
}

static bool option_set(struct tael_faults_options *options, const char *name, size_t size, uint64_t number) {
    if (size == strlen("seed") && memcmp(name, "seed", size) == 0) {
        options->seed = number;
        return true;
    }
    if (number > 100) return false;
#define X(option)                                                                                                      \
    if (size == strlen(#option) && memcmp(name, #option, size) == 0) {                                                 \
        options->option = (uint32_t)number;                                                                            \
        return true;                                                                                                   \
    }
    TAEL_FAULTS_TABLE(X)
#undef X
    return false;
}

int tael_faults_parse(const char *text, struct tael_faults_options *out) {
    struct tael_faults_options options = {0};
    for (;;) {
        const char *equals = strchr(text, '=');
        uint64_t number;
        if (equals == NULL) return -EINVAL;
        const char *end = number_read(equals + 1, &number);
        if (end == NULL || !option_set(&options, text, (size_t)(equals - text), number)) return -EINVAL;
        if (*end == '\0') break;
        text = end + 1;
    }
    *out = options;
    return 0;
}

/* --- passing --- */

void tael_faults_init(struct tael_faults *faults, const struct tael_faults_options *options, uint64_t stream) {
    memset(faults, 0, sizeof *faults);
    faults->options = *options;
    faults->random = options->seed * 0x9E3779B97F4A7C15u + stream;
}

static uint64_t draw(struct tael_faults *faults, uint64_t below) {
    uint64_t z = faults->random += 0x9E3779B97F4A7C15u;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return (z ^ (z >> 31)) % below;
}

static bool happens(struct tael_faults *faults, uint32_t percent, uint64_t *count) {
    if (draw(faults, 100) >= percent) return false;
    ++*count;
    return true;
}

/* Keeps a copy for later; false: there is no room for more. */
static bool hold(struct tael_faults *faults, const void *datagram, size_t size, uint64_t tag) {
    for (uint32_t i = 0; i < TAEL_FAULTS_HELD_MAX; i++) {
        struct tael_faults_held *held = &faults->held[i];
        if (held->behind != 0) continue;
        /* One more than that: the present one counts as the first that passes it. */
        held->behind = 2 + (uint32_t)draw(faults, BEHIND_MAX);
        held->size = (uint32_t)size;
        held->tag = tag;
        memcpy(held->bytes, datagram, size);
        return true;
    }
    return false;
}

/* One more has passed those that are held back: delivers the ones whose turn it is. */
static void held_pass(struct tael_faults *faults, tael_faults_deliver deliver, void *context) {
    for (uint32_t i = 0; i < TAEL_FAULTS_HELD_MAX; i++) {
        struct tael_faults_held *held = &faults->held[i];
        if (held->behind != 0 && --held->behind == 0) deliver(context, held->bytes, held->size, held->tag);
    }
}

static const void *corrupted(struct tael_faults *faults, const void *datagram, size_t size) {
    const uint64_t bit = draw(faults, size * 8);
    memcpy(faults->scratch, datagram, size);
    faults->scratch[bit / 8] ^= (uint8_t)(1u << bit % 8);
    return faults->scratch;
}

void tael_faults_pass(struct tael_faults *faults, const void *datagram, size_t size, uint64_t tag,
                      tael_faults_deliver deliver, void *context) {
    TAEL_ASSERT(size <= TAEL_DATAGRAM_SIZE_MAX);
    const struct tael_faults_options *options = &faults->options;
    faults->passed++;
    if (!happens(faults, options->drop, &faults->drop_count)) {
        const bool is_twice = happens(faults, options->duplicate, &faults->duplicate_count);
        const bool is_held = happens(faults, options->reorder, &faults->reorder_count);
        if (size > 0 && happens(faults, options->corrupt, &faults->corrupt_count)) {
            datagram = corrupted(faults, datagram, size);
        }
        if (!is_held || !hold(faults, datagram, size, tag)) deliver(context, datagram, size, tag);
        if (is_twice) deliver(context, datagram, size, tag);
    }
    held_pass(faults, deliver, context);
}
