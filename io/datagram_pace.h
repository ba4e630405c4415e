/* How fast a datagram client sends, and how long it waits: the round trip as it is measured, pauses that double, and the congestion
 * window, which halves where something was lost and else grows by one a round trip. Pure; no clock. */
#ifndef TAEL_IO_DATAGRAM_PACE_H
#define TAEL_IO_DATAGRAM_PACE_H

#include <stdint.h>

#define TAEL_DATAGRAM_PAUSE_MIN_NS 20000000ull /* the default of the first pause, at least */
#define TAEL_DATAGRAM_PAUSE_MAX_NS 500000000ull /* of doubled ones */
/* Parts, some 48 KB: no more than a queue of any network card or socket holds. With 4, a tenth lost each way made 9 s of a request of 745 parts. */
#define TAEL_DATAGRAM_WINDOW_MIN 32u

struct tael_datagram_pace {
    uint64_t pause_min_ns;
    uint64_t round_trip_ns; /* smoothed; 0: not measured yet */
    uint64_t shortest_ns; /* the shortest one measured */
    uint64_t changed_ns; /* when the window did last */
    uint32_t window; /* parts that may be on the way */
    uint32_t window_max;
    uint64_t (*random)(void *context); /* any 64 bits */
    void *random_context;
};

/* A round trip was measured: of a datagram that was sent once. */
void tael_datagram_pace_measured(struct tael_datagram_pace *pace, uint64_t round_trip_ns);

/* How long to wait after the try number `tries` from 0: at least 20 ms and four round trips, doubled with each, and up to a quarter
 * more, by chance, so that clients do not keep step. */
uint64_t tael_datagram_pace_pause_ns(struct tael_datagram_pace *pace, uint32_t tries);

/* So long, and up to a quarter more. */
uint64_t tael_datagram_pace_spread_ns(struct tael_datagram_pace *pace, uint64_t pause_ns);

/* Something was lost; `window_used` is what the other side lets be on the way. At most once a round trip. */
void tael_datagram_pace_lost(struct tael_datagram_pace *pace, uint32_t window_used, uint64_t now_ns);

/* Something arrived. */
void tael_datagram_pace_arrived(struct tael_datagram_pace *pace, uint64_t now_ns);

#endif
