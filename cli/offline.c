#include "cli/offline.h"

#include <string.h>

#include "persist/disk_uring.h"

enum { RING_ENTRIES = 64 };

int tael_offline_open_disk(struct tael_offline *offline, const struct tael_command *command, const char *path,
                           bool make) {
    int error = io_uring_queue_init(RING_ENTRIES, &offline->ring, 0);
    if (error != 0) {
        tael_error(command, "no io_uring: %s", strerror(-error));
        return TAEL_EXIT_FAILED;
    }
    const struct tael_disk_uring_options disk = {.path = path, .make = make, .ring = &offline->ring};
    error = tael_disk_uring_open(&disk, &offline->disk);
    if (error != 0) {
        tael_error(command, "%s: %s", path, strerror(-error));
        io_uring_queue_exit(&offline->ring);
        return TAEL_EXIT_FAILED;
    }
    return TAEL_EXIT_DONE;
}

int tael_offline_open(struct tael_offline *offline, const struct tael_command *command, const char *path,
                      const struct tael_data_directory_options *options) {
    struct tael_report report = {0};
    const int opened = tael_offline_open_disk(offline, command, path, false);
    if (opened != TAEL_EXIT_DONE) return opened;
    if (tael_data_directory_open(offline->disk, options, &offline->superblock, &report) == 0) return TAEL_EXIT_DONE;
    tael_error(command, "%s: %s", path, report.text);
    tael_offline_close(offline);
    return TAEL_EXIT_FAILED;
}

void tael_offline_close(struct tael_offline *offline) {
    tael_disk_destroy(offline->disk);
    io_uring_queue_exit(&offline->ring);
}
