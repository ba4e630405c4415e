#include "cli/core_map.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <tael/assert.h>

#include "cli/processor_list.h"

static bool is_allowed(const struct tael_topology *topology, uint32_t number) {
    const struct tael_processor *processor = tael_topology_find(topology, number);
    return processor != NULL && processor->is_allowed;
}

static bool is_crowded(const struct tael_core_map *map, uint32_t worker) {
    const uint32_t processor = map->workers[worker];
    if (worker > 0 && (processor == map->net || processor == map->log)) return true;
    for (uint32_t other = 0; other < map->worker_count; other++) {
        if (other != worker && map->workers[other] == processor) return true;
    }
    return false;
}

/* What both ways to a map end with. */
static void map_finish(const struct tael_topology *topology, struct tael_core_map *map) {
    TAEL_ASSERT(map->worker_count >= 1);
    TAEL_ASSERT(map->worker_count <= TAEL_WORKERS_MAX);
    TAEL_ASSERT(is_allowed(topology, map->net));
    TAEL_ASSERT(is_allowed(topology, map->log));
    map->workers_crowded = 0;
    for (uint32_t w = 0; w < map->worker_count; w++) {
        TAEL_ASSERT(is_allowed(topology, map->workers[w]));
        map->workers_crowded += is_crowded(map, w);
    }
}

/* --- auto --- */

/* Each holds those before it. */
enum { CORES_AT_HOME, CORES, THREADS_AT_HOME, THREADS, CIRCLES };

/* The allowed processors, in the order in which they are taken. */
struct pool {
    uint32_t numbers[TAEL_PROCESSORS_MAX];
    uint32_t ends[CIRCLES]; /* how many of them are in each circle */
};

static uint32_t home_find(const struct tael_topology *topology) {
    for (uint32_t i = 0; i < topology->count; i++) {
        if (topology->processors[i].is_allowed) return topology->processors[i].node;
    }
    TAEL_UNREACHABLE("a process that may not run anywhere");
}

/* True when an allowed processor of the same core comes before this one. */
static bool is_second_thread(const struct tael_topology *topology, uint32_t index) {
    for (uint32_t i = 0; i < index; i++) {
        const struct tael_processor *other = &topology->processors[i];
        if (other->is_allowed && other->core == topology->processors[index].core) return true;
    }
    return false;
}

static uint32_t circle_of(const struct tael_topology *topology, uint32_t index, uint32_t home) {
    const bool is_at_home = topology->processors[index].node == home;
    if (is_second_thread(topology, index)) return is_at_home ? THREADS_AT_HOME : THREADS;
    return is_at_home ? CORES_AT_HOME : CORES;
}

static void pool_fill(struct pool *pool, const struct tael_topology *topology) {
    uint8_t circles[TAEL_PROCESSORS_MAX];
    const uint32_t home = home_find(topology);
    for (uint32_t i = 0; i < topology->count; i++) circles[i] = (uint8_t)circle_of(topology, i, home);
    uint32_t count = 0;
    for (uint32_t circle = 0; circle < CIRCLES; circle++) {
        for (uint32_t i = 0; i < topology->count; i++) {
            const struct tael_processor *processor = &topology->processors[i];
            if (processor->is_allowed && circles[i] == circle) pool->numbers[count++] = processor->number;
        }
        pool->ends[circle] = count;
    }
    TAEL_ASSERT(pool->ends[CORES_AT_HOME] > 0);
}

/* How many workers a circle holds, beside net and log. */
static uint32_t workers_held(uint32_t processors) { return processors == 1 ? 1 : processors - 1; }

static uint32_t workers_choose(uint32_t cores) {
    if (cores < 4) return workers_held(cores);
    const uint32_t workers = cores - 2; /* the log has a core of its own */
    return workers < TAEL_CORE_MAP_WORKERS_CHOSEN_MAX ? workers : TAEL_CORE_MAP_WORKERS_CHOSEN_MAX;
}

/* How many processors of the pool that many workers may use: the narrowest circle that holds them, or all there are. */
static uint32_t processors_choose(const struct pool *pool, uint32_t workers) {
    for (uint32_t circle = 0; circle < CIRCLES; circle++) {
        if (workers_held(pool->ends[circle]) >= workers) return pool->ends[circle];
    }
    return pool->ends[THREADS];
}

void tael_core_map_choose(const struct tael_topology *topology, uint32_t workers, struct tael_core_map *map) {
    TAEL_ASSERT(topology->count <= TAEL_PROCESSORS_MAX);
    TAEL_ASSERT(workers <= TAEL_WORKERS_MAX);
    struct pool pool;
    pool_fill(&pool, topology);
    if (workers == 0) workers = workers_choose(pool.ends[CORES_AT_HOME]);
    const uint32_t processors = processors_choose(&pool, workers);
    /* Processors of net and log alone: one each, one for both, or none: then worker 0 is with them. */
    const uint32_t apart = workers + 2 <= processors ? 2 : workers < processors ? 1 : 0;
    *map = (struct tael_core_map){
        .net = pool.numbers[0],
        .log = pool.numbers[apart == 2 ? 1 : 0],
        .worker_count = workers,
    };
    for (uint32_t w = 0; w < workers; w++) map->workers[w] = pool.numbers[(apart + w) % processors];
    map_finish(topology, map);
}

/* --- a map by hand --- */

enum { NET, LOG, WORKER, ROLES, NO_ROLE = ROLES };

static const char *const role_names[ROLES] = {[NET] = "net", [LOG] = "log", [WORKER] = "worker"};

#define EXAMPLE "net=0,log=0,worker=1-3"

/* What stands between two commas: "PROCESSORS", or "ROLE=PROCESSORS". */
struct piece {
    const char *text;
    int size;
};

struct parser {
    const struct tael_topology *topology;
    struct tael_report *report;
    struct tael_core_map map;
    uint32_t role; /* to which a piece without a role belongs */
    uint32_t counts[ROLES]; /* of processors; none only where the role was not named */
};

__attribute__((format(printf, 2, 3))) static bool wrong(struct tael_report *report, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(report->text, sizeof report->text, format, arguments);
    va_end(arguments);
    return false;
}

static bool wrong_processor(const struct parser *parser, struct piece piece, uint32_t number, const char *what) {
    uint32_t allowed[TAEL_PROCESSORS_MAX];
    uint32_t count = 0;
    for (uint32_t i = 0; i < parser->topology->count; i++) {
        const struct tael_processor *processor = &parser->topology->processors[i];
        if (processor->is_allowed) allowed[count++] = processor->number;
    }
    char list[512];
    tael_processor_list_write(allowed, count, list, sizeof list);
    return wrong(parser->report, "processor %" PRIu32 " of '%.*s' %s; this process may run on %s", number, piece.size,
                 piece.text, what, list);
}

static bool role_begin(struct parser *parser, struct piece name) {
    uint32_t role = 0;
    while (role < ROLES && (strlen(role_names[role]) != (size_t)name.size ||
                            memcmp(role_names[role], name.text, (size_t)name.size) != 0)) {
        role++;
    }
    if (role == NO_ROLE) {
        return wrong(parser->report, "there is no role '%.*s'; roles are net, log and worker", name.size, name.text);
    }
    if (parser->counts[role] > 0) return wrong(parser->report, "%s is given twice", role_names[role]);
    parser->role = role;
    return true;
}

/* Where the next processor of the role in hand goes; NULL where it has all it can have. */
static uint32_t *place_take(struct parser *parser) {
    const uint32_t index = parser->counts[parser->role]++;
    switch (parser->role) {
    case NET:
        return index == 0 ? &parser->map.net : NULL;
    case LOG:
        return index == 0 ? &parser->map.log : NULL;
    default:
        return index < TAEL_WORKERS_MAX ? &parser->map.workers[index] : NULL;
    }
}

static bool processor_take(struct parser *parser, struct piece piece, uint32_t number) {
    const struct tael_processor *processor = tael_topology_find(parser->topology, number);
    if (processor == NULL) return wrong_processor(parser, piece, number, "does not exist");
    if (!processor->is_allowed) return wrong_processor(parser, piece, number, "is not allowed");
    uint32_t *place = place_take(parser);
    if (place == NULL) {
        return wrong(parser->report, "processor %" PRIu32 " of '%.*s' is one too many: %s takes %d at most", number,
                     piece.size, piece.text, role_names[parser->role], parser->role == WORKER ? TAEL_WORKERS_MAX : 1);
    }
    *place = number;
    return true;
}

/* The processors of a piece, which are all of it from `value` on. */
static bool processors_take(struct parser *parser, struct piece piece, const char *value) {
    const char *end = piece.text + piece.size;
    if (value == end) {
        return wrong(parser->report, "a processor of %s is missing, behind '=' or a comma", role_names[parser->role]);
    }
    struct tael_processor_span span;
    const char *at = value;
    if (!tael_processor_span_read(&at, &span) || at != end) {
        return wrong(parser->report, "'%.*s' of %s is neither a processor, as 2, nor some in a row, as 1-3",
                     (int)(end - value), value, role_names[parser->role]);
    }
    for (uint64_t number = span.first; number <= span.last; number++) {
        if (!processor_take(parser, piece, (uint32_t)number)) return false;
    }
    return true;
}

static bool piece_take(struct parser *parser, struct piece piece) {
    const char *sign = memchr(piece.text, '=', (size_t)piece.size);
    if (sign != NULL) {
        if (!role_begin(parser, (struct piece){piece.text, (int)(sign - piece.text)})) return false;
        return processors_take(parser, piece, sign + 1);
    }
    if (parser->role == NO_ROLE) {
        return wrong(parser->report, "'%.*s' is no ROLE=PROCESSOR; write auto, or as " EXAMPLE, piece.size, piece.text);
    }
    return processors_take(parser, piece, piece.text);
}

static bool pieces_take(struct parser *parser, const char *text) {
    for (;;) {
        const size_t size = strcspn(text, ",");
        if (!piece_take(parser, (struct piece){text, (int)size})) return false;
        if (text[size] == '\0') return true;
        text += size + 1;
    }
}

/* The pieces were good each by itself; are they together? */
static bool whole_check(struct parser *parser, uint32_t workers) {
    for (uint32_t role = 0; role < ROLES; role++) {
        if (parser->counts[role] > 0) continue;
        return wrong(parser->report, "%s is missing; write auto, or all of net, log and worker, as " EXAMPLE,
                     role_names[role]);
    }
    const uint32_t count = parser->counts[WORKER];
    if (workers == 0 || workers == count) return true;
    return wrong(parser->report, "worker has %" PRIu32 " processor%s, but --workers says %" PRIu32, count,
                 count == 1 ? "" : "s", workers);
}

bool tael_core_map_parse(const char *text, const struct tael_topology *topology, uint32_t workers,
                         struct tael_core_map *map, struct tael_report *report) {
    if (workers > TAEL_WORKERS_MAX) {
        return wrong(report, "%" PRIu32 " workers are too many: there can be %d", workers, TAEL_WORKERS_MAX);
    }
    if (strcmp(text, "auto") == 0) {
        tael_core_map_choose(topology, workers, map);
        return true;
    }
    if (*text == '\0') return wrong(report, "nothing is given; write auto, or as " EXAMPLE);
    struct parser parser = {.topology = topology, .report = report, .role = NO_ROLE};
    if (!pieces_take(&parser, text)) return false;
    if (!whole_check(&parser, workers)) return false;
    parser.map.worker_count = parser.counts[WORKER];
    map_finish(topology, &parser.map);
    *map = parser.map;
    return true;
}

void tael_core_map_describe(const struct tael_core_map *map, char *text, size_t size) {
    const int length = snprintf(text, size, "net %" PRIu32 ", log %" PRIu32 ", worker%s ", map->net, map->log,
                                map->worker_count == 1 ? "" : "s");
    TAEL_ASSERT(length > 0);
    TAEL_ASSERT((size_t)length + TAEL_PROCESSOR_LIST_SIZE_MIN <= size);
    tael_processor_list_write(map->workers, map->worker_count, text + length, size - (size_t)length);
}
