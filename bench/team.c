#include "bench/team.h"

#include <tael/assert.h>

void tael_bench_team_open(struct tael_bench_team *team, struct tael_arena *arena, uint32_t workers) {
    const struct tael_sleeping sleeping =
        tael_threads_sleeping(tael_threads_are_crowded(workers) ? TAEL_IDLE_SLEEP_AT_ONCE : TAEL_IDLE_SLEEP);
    tael_bench_team_join(team, tael_crew_init(arena, workers, &sleeping), workers);
}

void tael_bench_team_join(struct tael_bench_team *team, struct tael_crew *crew, uint32_t workers) {
    struct tael_topology topology;
    struct tael_core_map map;
    TAEL_ASSERT(tael_topology_read(&topology) == 0);
    tael_core_map_choose(&topology, workers, &map);
    TAEL_ASSERT(tael_threads_begin(&team->threads, crew, workers, &map) == 0);
    team->team = tael_crew_team(crew);
}

void tael_bench_team_close(struct tael_bench_team *team) { tael_threads_end(&team->threads); }
