/* The real disk. See disk.h for the contract.
 *
 * A durable write is one write with RWF_DSYNC (docs/log-format.md says why, with figures): when it completes, the device has
 * flushed it. Files are opened with O_DIRECT, so that nothing of the log lingers in the page cache.
 *
 * Invariants:
 * 1. A file that is open for writing is held by an exclusive flock. The kernel keeps an open file, and with it the lock,
 *    until the last write to it has ended, also when the process was killed: whoever gets the lock knows that no late
 *    write of a predecessor can land any more.
 * 2. Registered files and buffers are optional: where the kernel declines (a limit on locked memory, a table that
 *    another role has registered), plain ones are used. */
#include "persist/disk_uring.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <time.h>
#include <unistd.h>

#include <tael/assert.h>
#include <tael/limits.h>

/* How long to wait for the last writes of a killed predecessor, and for its lock. */
#define LOCK_WAIT_MS 10000
#define LOCK_RETRY_MS 5

struct open_file {
    int fd; /* -1: free */
    bool registered; /* at its own index in the ring's table */
};

struct disk_uring {
    struct tael_disk disk;
    struct io_uring *ring;
    int directory_fd;
    int lock_fd;
    bool files_registered;
    bool buffers_registered;
    uintptr_t buffers_base;
    size_t buffers_size;
    struct open_file files[TAEL_DISK_FILES_MAX];
};

static struct disk_uring *disk_of(struct tael_disk *disk) { return TAEL_CONTAINER_OF(disk, struct disk_uring, disk); }

static const char *path_of(const char *name) { return name[0] == '\0' ? "." : name; }

static int fd_of(const struct disk_uring *disk, tael_file file) {
    TAEL_ASSERT(file >= 0);
    TAEL_ASSERT(file < TAEL_DISK_FILES_MAX);
    TAEL_ASSERT(disk->files[file].fd >= 0);
    return disk->files[file].fd;
}

static void sleep_ms(long ms) {
    const struct timespec time = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000};
    nanosleep(&time, NULL);
}

/* Waits for the lock as long as invariant 1 asks for, and no longer. */
static int lock_file(int fd) {
    for (int waited_ms = 0;; waited_ms += LOCK_RETRY_MS) {
        if (flock(fd, LOCK_EX | LOCK_NB) == 0) return 0;
        if (errno != EWOULDBLOCK && errno != EINTR) return -errno;
        if (waited_ms >= LOCK_WAIT_MS) return -EBUSY;
        sleep_ms(LOCK_RETRY_MS);
    }
}

/* Gives `fd` a place. The table is bounded; being full is our own mistake. */
static tael_file file_place(struct disk_uring *disk, int fd) {
    for (tael_file file = 0; file < TAEL_DISK_FILES_MAX; file++) {
        if (disk->files[file].fd >= 0) continue;
        disk->files[file] = (struct open_file){.fd = fd};
        if (disk->files_registered) {
            disk->files[file].registered = io_uring_register_files_update(disk->ring, (unsigned)file, &fd, 1) == 1;
        }
        return file;
    }
    TAEL_ASSERT(false);
    return TAEL_FILE_NONE;
}

static int uring_directory_make(struct tael_disk *base, const char *name) {
    return mkdirat(disk_of(base)->directory_fd, path_of(name), 0700) == 0 ? 0 : -errno;
}

static int uring_list(struct tael_disk *base, const char *name, tael_disk_visit *visit, void *context) {
    const int fd = openat(disk_of(base)->directory_fd, path_of(name), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) return -errno;
    DIR *directory = fdopendir(fd);
    if (directory == NULL) {
        const int error = -errno;
        close(fd);
        return error;
    }
    int result = 0;
    while (result == 0) {
        errno = 0;
        const struct dirent *entry = readdir(directory);
        if (entry == NULL) {
            result = -errno;
            break;
        }
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0) continue;
        result = visit(context, entry->d_name);
    }
    closedir(directory);
    return result;
}

static int open_flags(uint32_t flags) {
    if ((flags & TAEL_DISK_DIRECTORY) != 0) return O_RDONLY | O_DIRECTORY | O_CLOEXEC;
    int result = O_DIRECT | O_CLOEXEC | O_NOFOLLOW;
    result |= (flags & TAEL_DISK_WRITE) != 0 ? O_RDWR : O_RDONLY;
    if ((flags & TAEL_DISK_CREATE) != 0) result |= O_CREAT | O_EXCL;
    return result;
}

static int uring_open(struct tael_disk *base, const char *name, uint32_t flags, tael_file *file) {
    struct disk_uring *disk = disk_of(base);
    const int fd = openat(disk->directory_fd, path_of(name), open_flags(flags), 0600);
    if (fd < 0) return -errno;
    if ((flags & TAEL_DISK_WRITE) != 0) {
        const int error = lock_file(fd);
        if (error != 0) {
            close(fd);
            return error;
        }
    }
    *file = file_place(disk, fd);
    return 0;
}

static void uring_close(struct tael_disk *base, tael_file file) {
    struct disk_uring *disk = disk_of(base);
    const int fd = fd_of(disk, file);
    if (disk->files[file].registered) {
        int none = -1;
        (void)io_uring_register_files_update(disk->ring, (unsigned)file, &none, 1);
    }
    close(fd);
    disk->files[file] = (struct open_file){.fd = -1};
}

static int uring_size(struct tael_disk *base, tael_file file, uint64_t *size_bytes) {
    struct stat status;
    if (fstat(fd_of(disk_of(base), file), &status) != 0) return -errno;
    *size_bytes = (uint64_t)status.st_size;
    return 0;
}

static int uring_read(struct tael_disk *base, tael_file file, void *buffer, uint32_t size, uint64_t offset) {
    const int fd = fd_of(disk_of(base), file);
    for (uint32_t got = 0; got < size;) {
        const ssize_t count = pread(fd, (uint8_t *)buffer + got, size - got, (off_t)(offset + got));
        if (count < 0 && errno == EINTR) continue;
        if (count < 0) return -errno;
        if (count == 0) return -EIO;
        got += (uint32_t)count;
    }
    return 0;
}

static int uring_write(struct tael_disk *base, tael_file file, const void *buffer, uint32_t size, uint64_t offset) {
    const ssize_t count = pwrite(fd_of(disk_of(base), file), buffer, size, (off_t)offset);
    if (count < 0) return -errno;
    return (uint32_t)count == size ? 0 : -EIO;
}

static int uring_sync(struct tael_disk *base, tael_file file) {
    return fsync(fd_of(disk_of(base), file)) == 0 ? 0 : -errno;
}

static int uring_rename(struct tael_disk *base, const char *name, const char *name_new) {
    const int fd = disk_of(base)->directory_fd;
    return renameat2(fd, name, fd, name_new, RENAME_NOREPLACE) == 0 ? 0 : -errno;
}

static int uring_remove(struct tael_disk *base, const char *name) {
    return unlinkat(disk_of(base)->directory_fd, name, 0) == 0 ? 0 : -errno;
}

static int uring_free_space(struct tael_disk *base, uint64_t *size_bytes) {
    struct statvfs status;
    if (fstatvfs(disk_of(base)->directory_fd, &status) != 0) return -errno;
    *size_bytes = (uint64_t)status.f_bavail * status.f_frsize;
    return 0;
}

/* The process id that the lock file names, 0 where it names none. */
static uint64_t lock_holder(int fd) {
    char text[32] = {0};
    if (pread(fd, text, sizeof text - 1, 0) <= 0) return 0;
    return strtoull(text, NULL, 10);
}

static int lock_write_holder(int fd) {
    char text[32];
    const int size = snprintf(text, sizeof text, "%ld\n", (long)getpid());
    if (ftruncate(fd, 0) != 0) return -errno;
    return pwrite(fd, text, (size_t)size, 0) == size ? 0 : -EIO;
}

/* The lock file, open. On a read-only mount, where tools read a backup or a snapshot, it is opened as it is: the file system
 * may be writable elsewhere, by a server that holds the lock. */
static int lock_open(int directory_fd, const char *name, bool *writable) {
    const int flags = O_CLOEXEC | O_NOFOLLOW;
    const int fd = openat(directory_fd, name, O_RDWR | O_CREAT | flags, 0600);
    *writable = fd >= 0;
    return fd < 0 && errno == EROFS ? openat(directory_fd, name, O_RDONLY | flags) : fd;
}

static int uring_lock(struct tael_disk *base, const char *name, uint64_t *holder_process) {
    struct disk_uring *disk = disk_of(base);
    TAEL_ASSERT(disk->lock_fd < 0);
    bool writable;
    const int fd = lock_open(disk->directory_fd, name, &writable);
    if (fd < 0) return !writable && errno == ENOENT ? 0 : -errno; /* a copy without the lock file: nobody has it */
    int error = flock(fd, LOCK_EX | LOCK_NB) == 0 ? 0 : -errno;
    if (error == -EWOULDBLOCK) {
        *holder_process = lock_holder(fd);
        error = -EBUSY;
    }
    if (error == 0 && writable) error = lock_write_holder(fd);
    if (error != 0) {
        close(fd);
        return error;
    }
    disk->lock_fd = fd;
    return 0;
}

static int uring_register_buffers(struct tael_disk *base, void *memory, size_t size) {
    struct disk_uring *disk = disk_of(base);
    TAEL_ASSERT(disk->ring != NULL);
    TAEL_ASSERT(!disk->buffers_registered);
    const struct iovec region = {.iov_base = memory, .iov_len = size};
    const int error = io_uring_register_buffers(disk->ring, &region, 1);
    if (error != 0) return error;
    disk->buffers_registered = true;
    disk->buffers_base = (uintptr_t)memory;
    disk->buffers_size = size;
    return 0;
}

static bool buffer_is_registered(const struct disk_uring *disk, const struct tael_disk_request *request) {
    if (!disk->buffers_registered) return false;
    const uintptr_t start = (uintptr_t)request->buffer;
    if (start < disk->buffers_base) return false;
    return start - disk->buffers_base + request->size <= disk->buffers_size;
}

/* A place in the submission queue; a full queue is handed to the kernel first. */
static struct io_uring_sqe *queue_place(struct disk_uring *disk) {
    struct io_uring_sqe *sqe = io_uring_get_sqe(disk->ring);
    while (sqe == NULL) {
        const int submitted = io_uring_submit(disk->ring);
        TAEL_ASSERT(submitted >= 0 || submitted == -EAGAIN || submitted == -EBUSY || submitted == -EINTR);
        sqe = io_uring_get_sqe(disk->ring);
    }
    return sqe;
}

static int32_t created(struct disk_uring *disk, struct tael_disk_request *request, int32_t fd) {
    if (fd < 0) return fd;
    const int error = lock_file(fd);
    if (error != 0) {
        close(fd);
        return error;
    }
    request->file = file_place(disk, fd);
    return 0;
}

static void completed(struct tael_completion *completion, int32_t result, uint32_t flags) {
    (void)flags;
    struct tael_disk_request *request = TAEL_CONTAINER_OF(completion, struct tael_disk_request, completion);
    if (request->verb == TAEL_DISK_VERB_CREATE) result = created(disk_of(request->disk), request, result);
    request->done(request, result);
}

static void prepare_transfer(const struct disk_uring *disk, struct io_uring_sqe *sqe,
                             const struct tael_disk_request *request, int fd) {
    if (request->verb == TAEL_DISK_VERB_READ) {
        io_uring_prep_read(sqe, fd, request->buffer, request->size, request->offset);
    } else if (buffer_is_registered(disk, request)) {
        io_uring_prep_write_fixed(sqe, fd, request->buffer, request->size, request->offset, 0);
    } else {
        io_uring_prep_write(sqe, fd, request->buffer, request->size, request->offset);
    }
    if (request->durable) sqe->rw_flags = RWF_DSYNC;
}

/* The verbs on an open file. */
static void prepare_on_file(const struct disk_uring *disk, struct io_uring_sqe *sqe,
                            const struct tael_disk_request *request) {
    const bool registered = disk->files[request->file].registered;
    const int fd = registered ? (int)request->file : fd_of(disk, request->file);
    switch (request->verb) {
    case TAEL_DISK_VERB_SYNC:
        io_uring_prep_fsync(sqe, fd, 0);
        break;
    case TAEL_DISK_VERB_RESERVE:
        io_uring_prep_fallocate(sqe, fd, 0, 0, (off_t)request->size_file);
        break;
    default:
        prepare_transfer(disk, sqe, request, fd);
        break;
    }
    if (registered) sqe->flags |= IOSQE_FIXED_FILE;
}

static void uring_submit(struct tael_disk *base, struct tael_disk_request *request) {
    struct disk_uring *disk = disk_of(base);
    TAEL_ASSERT(disk->ring != NULL);
    TAEL_ASSERT(request->done != NULL);
    struct io_uring_sqe *sqe = queue_place(disk);
    const int directory = disk->directory_fd;
    switch (request->verb) {
    case TAEL_DISK_VERB_CREATE:
        io_uring_prep_openat(sqe, directory, request->name, open_flags(TAEL_DISK_WRITE | TAEL_DISK_CREATE), 0600);
        break;
    case TAEL_DISK_VERB_RENAME:
        io_uring_prep_renameat(sqe, directory, request->name, directory, request->name_new, RENAME_NOREPLACE);
        break;
    case TAEL_DISK_VERB_REMOVE:
        io_uring_prep_unlinkat(sqe, directory, request->name, 0);
        break;
    default:
        prepare_on_file(disk, sqe, request);
        break;
    }
    request->disk = base;
    request->completion.done = completed;
    sqe->user_data = (uintptr_t)&request->completion;
}

static int uring_wait(struct tael_disk *base) {
    struct disk_uring *disk = disk_of(base);
    const int submitted = io_uring_submit_and_wait(disk->ring, 1);
    if (submitted < 0 && submitted != -EINTR && submitted != -EAGAIN && submitted != -EBUSY) return submitted;
    /* One at a time: what `done` does may look at the queue itself. */
    struct io_uring_cqe *cqe;
    while (io_uring_peek_cqe(disk->ring, &cqe) == 0) {
        const struct io_uring_cqe copy = *cqe;
        io_uring_cqe_seen(disk->ring, cqe);
        tael_completion_dispatch(copy.user_data, copy.res, copy.flags);
    }
    return 0;
}

static void uring_destroy(struct tael_disk *base) {
    struct disk_uring *disk = disk_of(base);
    for (tael_file file = 0; file < TAEL_DISK_FILES_MAX; file++) {
        if (disk->files[file].fd >= 0) uring_close(base, file);
    }
    if (disk->buffers_registered) (void)io_uring_unregister_buffers(disk->ring);
    if (disk->files_registered) (void)io_uring_unregister_files(disk->ring);
    if (disk->lock_fd >= 0) close(disk->lock_fd);
    close(disk->directory_fd);
    free(disk);
}

static const struct tael_disk_operations uring_operations = {
    .directory_make = uring_directory_make,
    .list = uring_list,
    .open = uring_open,
    .close = uring_close,
    .size = uring_size,
    .read = uring_read,
    .write = uring_write,
    .sync = uring_sync,
    .rename = uring_rename,
    .remove = uring_remove,
    .free_space = uring_free_space,
    .lock = uring_lock,
    .register_buffers = uring_register_buffers,
    .submit = uring_submit,
    .wait = uring_wait,
    .destroy = uring_destroy,
};

/* Makes the directory and its entry in the parent durable. One that exists already is left as it is. */
static int directory_make(const char *path) {
    if (mkdir(path, 0700) != 0) return errno == EEXIST ? 0 : -errno;
    char parent[PATH_MAX];
    if (snprintf(parent, sizeof parent, "%s/..", path) >= (int)sizeof parent) return -ENAMETOOLONG;
    const int fd = open(parent, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) return -errno;
    const int error = fsync(fd) == 0 ? 0 : -errno;
    close(fd);
    return error;
}

int tael_disk_uring_open(const struct tael_disk_uring_options *options, struct tael_disk **out) {
    if (options->make) {
        const int error = directory_make(options->path);
        if (error != 0) return error;
    }
    const int fd = open(options->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) return -errno;
    struct disk_uring *disk = calloc(1, sizeof *disk);
    if (disk == NULL) {
        close(fd);
        return -ENOMEM;
    }
    disk->disk.operations = &uring_operations;
    disk->ring = options->ring;
    disk->directory_fd = fd;
    disk->lock_fd = -1;
    for (tael_file file = 0; file < TAEL_DISK_FILES_MAX; file++) disk->files[file].fd = -1;
    if (disk->ring != NULL) {
        disk->files_registered = io_uring_register_files_sparse(disk->ring, TAEL_DISK_FILES_MAX) == 0;
    }
    *out = &disk->disk;
    return 0;
}
