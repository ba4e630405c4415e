/* The real disk: O_DIRECT files under one directory, asynchronous operations through the thread's io_uring. */
#ifndef TAEL_PERSIST_DISK_URING_H
#define TAEL_PERSIST_DISK_URING_H

#include <liburing.h>
#include <stdbool.h>

#include "persist/disk.h"

struct tael_disk_uring_options {
    const char *path; /* of the directory */
    bool make; /* makes the directory (mode 0700) where it is missing, and syncs its parent */
    struct io_uring *ring; /* the thread's; NULL where no asynchronous operation is used */
};

/* Opens the directory. Allocates; undone by tael_disk_destroy, which must come before the ring's end. */
int tael_disk_uring_open(const struct tael_disk_uring_options *options, struct tael_disk **disk);

#endif
