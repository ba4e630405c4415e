/* A disk as persist/ sees it: one directory with named files and sub-directories.
 *
 * Two implementations: persist/disk_uring.c is the real one, tests/sim/disk_sim.c is simulated from a seed. Everything in
 * persist/ reaches the disk through this interface and in no other way.
 *
 * 1. Names are relative to the disk's directory, with `/` between a sub-directory and a file; "" is the directory itself.
 * 2. Synchronous operations serve start-up, tools and the end; they return 0 or a negative errno.
 * 3. Asynchronous operations (tael_disk_submit) are driven by completions: `done` is called from the thread's loop, never
 *    from within tael_disk_submit. The request, its buffer and its names belong to the disk until then.
 * 4. A write is durable when it completes only where it asks for it (`durable`); otherwise after a sync of its file that
 *    began after its completion. A name is durable after a sync of its directory.
 * 5. Offsets, sizes and buffers of reads and writes are multiples of TAEL_SECTOR_SIZE (files are opened with O_DIRECT).
 * 6. A file that is open for writing is locked: while writes of a process that was killed are still on their way to it,
 *    nobody else opens it for writing.
 *
 * Owner: one thread. */
#ifndef TAEL_PERSIST_DISK_H
#define TAEL_PERSIST_DISK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <tael/completion.h>

/* An open file or directory: an index of the disk's own. */
typedef int32_t tael_file;
#define TAEL_FILE_NONE (-1)
#define TAEL_DISK_FILES_MAX 64 /* open at once */
#define TAEL_DISK_NAME_MAX 64 /* bytes of a name, its end included */

enum tael_disk_open_flag {
    TAEL_DISK_READ = 0,
    TAEL_DISK_WRITE = 1u << 0, /* reads too */
    TAEL_DISK_CREATE = 1u << 1, /* and it must not exist yet */
    TAEL_DISK_DIRECTORY = 1u << 2, /* only to be synced */
};

enum tael_disk_verb {
    TAEL_DISK_VERB_READ,
    TAEL_DISK_VERB_WRITE,
    TAEL_DISK_VERB_SYNC, /* of a file or a directory */
    TAEL_DISK_VERB_CREATE, /* `name`, for writing; must not exist; `file` is set on completion */
    TAEL_DISK_VERB_RESERVE, /* gives the file `size_file` bytes, all zeros; -ENOSPC where there is no room */
    TAEL_DISK_VERB_RENAME, /* `name` to `name_new`, which must not exist */
    TAEL_DISK_VERB_REMOVE, /* `name` */
};

struct tael_disk_request {
    struct tael_completion completion; /* the disk's own */
    struct tael_disk *disk; /* the disk's own */
    /* `result`: bytes read or written, 0 for everything else, or a negative errno. */
    void (*done)(struct tael_disk_request *request, int32_t result);
    enum tael_disk_verb verb;
    tael_file file;
    bool durable; /* WRITE: durable on completion */
    uint32_t size;
    uint64_t offset;
    uint64_t size_file;
    void *buffer;
    char name[TAEL_DISK_NAME_MAX];
    char name_new[TAEL_DISK_NAME_MAX];
};

typedef int tael_disk_visit(void *context, const char *name); /* anything but 0 stops the listing and is returned */

struct tael_disk_operations {
    int (*directory_make)(struct tael_disk *disk, const char *name);
    int (*list)(struct tael_disk *disk, const char *name, tael_disk_visit *visit, void *context);
    int (*open)(struct tael_disk *disk, const char *name, uint32_t flags, tael_file *file);
    void (*close)(struct tael_disk *disk, tael_file file);
    int (*size)(struct tael_disk *disk, tael_file file, uint64_t *size_bytes);
    int (*read)(struct tael_disk *disk, tael_file file, void *buffer, uint32_t size, uint64_t offset);
    int (*write)(struct tael_disk *disk, tael_file file, const void *buffer, uint32_t size, uint64_t offset);
    int (*sync)(struct tael_disk *disk, tael_file file);
    int (*rename)(struct tael_disk *disk, const char *name, const char *name_new);
    int (*remove)(struct tael_disk *disk, const char *name);
    int (*free_space)(struct tael_disk *disk, uint64_t *size_bytes);
    int (*lock)(struct tael_disk *disk, const char *name, uint64_t *holder_process);
    int (*register_buffers)(struct tael_disk *disk, void *base, size_t size);
    void (*submit)(struct tael_disk *disk, struct tael_disk_request *request);
    int (*wait)(struct tael_disk *disk);
    void (*destroy)(struct tael_disk *disk);
};

struct tael_disk {
    const struct tael_disk_operations *operations;
};

/* Makes a directory, mode 0700. -EEXIST where there is one. */
static inline int tael_disk_directory_make(struct tael_disk *disk, const char *name) {
    return disk->operations->directory_make(disk, name);
}

/* Calls `visit` with each entry's name, without the directory's. */
static inline int tael_disk_list(struct tael_disk *disk, const char *name, tael_disk_visit *visit, void *context) {
    return disk->operations->list(disk, name, visit, context);
}

/* Files are made with mode 0600. `file` is untouched on failure. */
static inline int tael_disk_open(struct tael_disk *disk, const char *name, uint32_t flags, tael_file *file) {
    return disk->operations->open(disk, name, flags, file);
}

/* The file must have no request under way. */
static inline void tael_disk_close(struct tael_disk *disk, tael_file file) { disk->operations->close(disk, file); }

static inline int tael_disk_size(struct tael_disk *disk, tael_file file, uint64_t *size_bytes) {
    return disk->operations->size(disk, file, size_bytes);
}

/* Reads or writes all of `size` bytes; a short one is -EIO. */
static inline int tael_disk_read(struct tael_disk *disk, tael_file file, void *buffer, uint32_t size, uint64_t offset) {
    return disk->operations->read(disk, file, buffer, size, offset);
}
static inline int tael_disk_write(struct tael_disk *disk, tael_file file, const void *buffer, uint32_t size,
                                  uint64_t offset) {
    return disk->operations->write(disk, file, buffer, size, offset);
}

/* As the verbs of the same names. */
static inline int tael_disk_sync(struct tael_disk *disk, tael_file file) { return disk->operations->sync(disk, file); }
static inline int tael_disk_rename(struct tael_disk *disk, const char *name, const char *name_new) {
    return disk->operations->rename(disk, name, name_new);
}
static inline int tael_disk_remove(struct tael_disk *disk, const char *name) {
    return disk->operations->remove(disk, name);
}

/* Bytes that an unprivileged process may still take. */
static inline int tael_disk_free_space(struct tael_disk *disk, uint64_t *size_bytes) {
    return disk->operations->free_space(disk, size_bytes);
}

/* Locks the file `name` (made where it is missing) until the disk is destroyed, and writes this process's id into it.
 * -EBUSY where another process holds it: `holder_process` is its id, 0 where it cannot be told. */
static inline int tael_disk_lock(struct tael_disk *disk, const char *name, uint64_t *holder_process) {
    return disk->operations->lock(disk, name, holder_process);
}

/* Memory from which blocks are written, so that the kernel need not pin it anew for each write. Optional, and only an
 * optimisation: a negative errno tells why the kernel declined, and writes work as before. */
static inline int tael_disk_register_buffers(struct tael_disk *disk, void *base, size_t size) {
    return disk->operations->register_buffers(disk, base, size);
}

/* Starts a request. What goes wrong is told to `done`. The real disk only queues it: the loop submits the queue to the kernel. */
static inline void tael_disk_submit(struct tael_disk *disk, struct tael_disk_request *request) {
    disk->operations->submit(disk, request);
}

/* Waits until at least one completion was dispatched, for start-up and the end; the loop does without. */
static inline int tael_disk_wait(struct tael_disk *disk) { return disk->operations->wait(disk); }

/* Gives everything back, the lock too. No request may be under way. */
static inline void tael_disk_destroy(struct tael_disk *disk) { disk->operations->destroy(disk); }

/* Syncs a directory by its name. */
int tael_disk_directory_sync(struct tael_disk *disk, const char *name);

#endif
