/* Faults on purpose: what a bad network does to datagrams, between a datagram client or server and what carries its datagrams.
 * Each one passes through, is dropped, comes twice, comes behind some that follow it, or has a bit flipped, as a seed
 * has it: the same seed and the same datagrams give the same faults.
 *
 * One object is for one direction. Pure; owned by one thread; no allocation. */
#ifndef TAEL_IO_FAULTS_H
#define TAEL_IO_FAULTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <tael/datagram.h>

#define TAEL_FAULTS_HELD_MAX 8 /* datagrams that are held back at once */

/* Percent, each drawn by itself; and the seed. */
/* clang-format off */
#define TAEL_FAULTS_TABLE(X) \
    X(drop)                  \
    X(duplicate)             \
    X(reorder)               \
    X(corrupt)
/* clang-format on */

struct tael_faults_options {
#define X(name) uint32_t name;
    TAEL_FAULTS_TABLE(X)
#undef X
    uint64_t seed;
};

/* Reads "drop=20,duplicate=10,reorder=10,corrupt=1,seed=7"; what is not named is 0. 0, or -EINVAL: `out` is as it was. */
int tael_faults_parse(const char *text, struct tael_faults_options *out);

/* Takes a datagram on. `tag` is what the caller named its peer by; the bytes are valid during the call. */
typedef void (*tael_faults_deliver)(void *context, const void *datagram, size_t size, uint64_t tag);

struct tael_faults {
    struct tael_faults_options options;
    uint64_t random; /* splitmix64 */
    struct tael_faults_held {
        uint32_t behind; /* how many are still to pass it; 0: free */
        uint32_t size;
        uint64_t tag;
        uint8_t bytes[TAEL_DATAGRAM_SIZE_MAX];
    } held[TAEL_FAULTS_HELD_MAX];
    uint8_t scratch[TAEL_DATAGRAM_SIZE_MAX];
    /* What happened so far. */
    uint64_t passed;
#define X(name) uint64_t name##_count;
    TAEL_FAULTS_TABLE(X)
#undef X
};

/* `stream` tells directions with one seed apart. */
void tael_faults_init(struct tael_faults *faults, const struct tael_faults_options *options, uint64_t stream);

/* Lets a datagram of at most TAEL_DATAGRAM_SIZE_MAX bytes pass: calls `deliver` for it, as often as it comes out, and for earlier ones
 * that were held back until now. One that is held back when nothing follows it any more is lost. */
void tael_faults_pass(struct tael_faults *faults, const void *datagram, size_t size, uint64_t tag,
                      tael_faults_deliver deliver, void *context);

#endif
