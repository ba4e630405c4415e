/* Where a server's threads run, and what they do when they have nothing to do: --workers, --cores and --idle. */
#ifndef TAEL_CLI_PLACEMENT_H
#define TAEL_CLI_PLACEMENT_H

#include <stdbool.h>
#include <stdint.h>

#include "cli/command.h"
#include "cli/core_map.h"
#include "cli/threads.h"

struct tael_placement {
    struct tael_core_map map;
    bool
        is_bound; /* each thread stays on the processor that the map has for it; else there is one, which goes anywhere */
    enum tael_idle idle;
};

/* From the options: `workers` 0 and `cores` NULL are not given. Warns of what will be slow. False where they are wrong, or the
 * machine tells nothing of itself; that has been said in the command's name. */
bool tael_placement_make(const struct tael_command *command, uint32_t workers, const char *cores, const char *idle,
                         struct tael_placement *placement);

/* "net 0, log 0, workers 1-3"; NULL where nothing is bound. Returns `text`. */
const char *tael_placement_describe(const struct tael_placement *placement, char text[static TAEL_CORE_MAP_TEXT_SIZE]);

#endif
