#include "io/datagram_pace.h"

#define DOUBLINGS_MAX 20u

void tael_datagram_pace_measured(struct tael_datagram_pace *pace, uint64_t round_trip_ns) {
    if (pace->shortest_ns == 0 || round_trip_ns < pace->shortest_ns) pace->shortest_ns = round_trip_ns;
    if (pace->round_trip_ns == 0) {
        pace->round_trip_ns = round_trip_ns;
    } else {
        pace->round_trip_ns = pace->round_trip_ns - pace->round_trip_ns / 8 + round_trip_ns / 8;
    }
}

uint64_t tael_datagram_pace_spread_ns(struct tael_datagram_pace *pace, uint64_t pause_ns) {
    return pause_ns + pace->random(pace->random_context) % (pause_ns / 4 + 1);
}

uint64_t tael_datagram_pace_pause_ns(struct tael_datagram_pace *pace, uint32_t tries) {
    const uint64_t trips_ns = pace->round_trip_ns * 4;
    const uint64_t first_ns = trips_ns > pace->pause_min_ns ? trips_ns : pace->pause_min_ns;
    const uint64_t longest_ns = first_ns > TAEL_DATAGRAM_PAUSE_MAX_NS ? first_ns : TAEL_DATAGRAM_PAUSE_MAX_NS;
    uint64_t pause_ns = first_ns;
    for (uint32_t i = 0; i < tries && i < DOUBLINGS_MAX && pause_ns < longest_ns; i++) pause_ns *= 2;
    return tael_datagram_pace_spread_ns(pace, pause_ns < longest_ns ? pause_ns : longest_ns);
}

void tael_datagram_pace_lost(struct tael_datagram_pace *pace, uint32_t window_used, uint64_t now_ns) {
    if (now_ns - pace->changed_ns < pace->round_trip_ns) return;
    const uint32_t window = pace->window < window_used ? pace->window : window_used;
    pace->window = window / 2 > TAEL_DATAGRAM_WINDOW_MIN ? window / 2 : TAEL_DATAGRAM_WINDOW_MIN;
    if (pace->window > pace->window_max) pace->window = pace->window_max;
    pace->changed_ns = now_ns;
}

void tael_datagram_pace_arrived(struct tael_datagram_pace *pace, uint64_t now_ns) {
    if (pace->window >= pace->window_max || now_ns - pace->changed_ns < pace->round_trip_ns) return;
    pace->window++;
    pace->changed_ns = now_ns;
}
