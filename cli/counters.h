/* The counters of the roles, for an administrator to read on stderr. Each is printed by the thread that counts. */
#ifndef TAEL_CLI_COUNTERS_H
#define TAEL_CLI_COUNTERS_H

#include "cli/state.h"
#include "engine/sequencer.h"
#include "persist/log.h"

void tael_counters_print_log(const struct tael_sequencer *sequencer, const struct tael_log *log);
/* What several workers did together; with one there is nothing to tell. */
void tael_counters_print_worker(const struct tael_state *state);

#endif
