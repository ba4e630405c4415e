/* Datagrams under way in a simulation: each arrives at its time, those of one time in the order in which they were sent. */
#ifndef TAEL_TESTS_SUPPORT_WAY_H
#define TAEL_TESTS_SUPPORT_WAY_H

#include <stdbool.h>
#include <stdint.h>

#include <tael/assert.h>

struct packet {
    uint64_t arrives_ns;
    uint64_t order; /* among those that arrive at one time */
    bool to_server;
    bool is_whole; /* nothing was damaged; for those who note it */
    uint32_t endpoint; /* the other side's */
    uint32_t size;
    uint8_t *bytes; /* the owner's */
};

/* A heap, the first to arrive at its top. */
struct way {
    struct packet *packets; /* room for `max` */
    uint32_t count;
    uint32_t max;
};

static inline bool way_before(const struct packet *a, const struct packet *b) {
    return a->arrives_ns != b->arrives_ns ? a->arrives_ns < b->arrives_ns : a->order < b->order;
}

static inline void way_swap(struct way *way, uint32_t a, uint32_t b) {
    const struct packet packet = way->packets[a];
    way->packets[a] = way->packets[b];
    way->packets[b] = packet;
}

/* There is room. */
static inline void way_push(struct way *way, struct packet packet) {
    TAEL_ASSERT(way->count < way->max);
    uint32_t place = way->count++;
    way->packets[place] = packet;
    for (; place > 0 && way_before(&way->packets[place], &way->packets[(place - 1) / 2]); place = (place - 1) / 2) {
        way_swap(way, place, (place - 1) / 2);
    }
}

/* When the first one arrives; UINT64_MAX: there is none. */
static inline uint64_t way_next_ns(const struct way *way) {
    return way->count > 0 ? way->packets[0].arrives_ns : UINT64_MAX;
}

/* Takes the first one, which there is. */
static inline struct packet way_pop(struct way *way) {
    TAEL_ASSERT(way->count > 0);
    const struct packet first = way->packets[0];
    way->packets[0] = way->packets[--way->count];
    for (uint32_t place = 0;;) {
        uint32_t least = place;
        for (uint32_t child = 2 * place + 1; child <= 2 * place + 2 && child < way->count; child++) {
            if (way_before(&way->packets[child], &way->packets[least])) least = child;
        }
        if (least == place) return first;
        way_swap(way, place, least);
        place = least;
    }
}

#endif
