#include "persist/disk.h"

#include <tael/assert.h>

int tael_disk_directory_sync(struct tael_disk *disk, const char *name) {
    tael_file directory = TAEL_FILE_NONE;
    int error = tael_disk_open(disk, name, TAEL_DISK_DIRECTORY, &directory);
    if (error != 0) return error;
    TAEL_ASSERT(directory != TAEL_FILE_NONE);
    error = tael_disk_sync(disk, directory);
    tael_disk_close(disk, directory);
    return error;
}
