/* Opening a ledger without a server: for the commands that work on a data directory alone. */
#ifndef TAEL_CLI_OFFLINE_H
#define TAEL_CLI_OFFLINE_H

#include <liburing.h>
#include <stdbool.h>
#include <stdint.h>

#include <tael/log_format.h>

#include "cli/command.h"
#include "persist/data_directory.h"
#include "persist/disk.h"

struct tael_offline {
    struct io_uring ring;
    struct tael_disk *disk;
    struct tael_superblock superblock;
};

/* Opens the directory alone; `make` makes it where it is missing. An enum tael_exit, as below. */
int tael_offline_open_disk(struct tael_offline *offline, const struct tael_command *command, const char *path,
                           bool make);

/* Opens the directory, locks it and reads its superblock. An enum tael_exit; what went wrong has been said, in `command`'s
 * name. */
int tael_offline_open(struct tael_offline *offline, const struct tael_command *command, const char *path,
                      const struct tael_data_directory_options *options);
void tael_offline_close(struct tael_offline *offline);

#endif
