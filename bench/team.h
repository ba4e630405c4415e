/* Workers to measure with: threads that are kept on processors as a server keeps its own. */
#ifndef TAEL_BENCH_TEAM_H
#define TAEL_BENCH_TEAM_H

#include "cli/threads.h"

struct tael_bench_team {
    struct tael_team team; /* led by the caller */
    struct tael_threads threads;
};

/* Takes tael_crew_size_bytes(workers) of the arena; ends the process if it cannot. */
void tael_bench_team_open(struct tael_bench_team *team, struct tael_arena *arena, uint32_t workers);
/* The same with a crew of so many that is there already. */
void tael_bench_team_join(struct tael_bench_team *team, struct tael_crew *crew, uint32_t workers);
void tael_bench_team_close(struct tael_bench_team *team);

#endif
