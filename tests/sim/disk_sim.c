#include "tests/sim/disk_sim.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <tael/assert.h>
#include <tael/limits.h>

#include "persist/format.h"
#include "tests/support/random.h"

#define ENTRIES_MAX 256
#define TEAR_SIZE 512

/* Content as sectors; NULL stands for zeros. */
struct image {
    uint8_t **sectors;
    uint64_t count;
};

struct file {
    struct image seen; /* what reads see */
    struct image durable; /* what a power cut cannot take */
    bool directory;
};

struct entry {
    char name[TAEL_DISK_NAME_MAX];
    struct file *file;
};

struct entries {
    struct entry list[ENTRIES_MAX];
    uint32_t count;
};

/* A write that is not durable, or a change of names that is not. In order of time. */
struct pending {
    struct pending *next;
    uint64_t id;
    struct file *file;
    uint64_t offset;
    uint32_t size;
    uint8_t *data; /* NULL: zeros */
};

enum name_change { NAME_MADE, NAME_CHANGED, NAME_REMOVED };
struct pending_name {
    struct pending_name *next;
    enum name_change change;
    char name[TAEL_DISK_NAME_MAX];
    char name_new[TAEL_DISK_NAME_MAX];
    struct file *file;
};

struct open_file {
    struct file *file; /* NULL: free */
    char name[TAEL_DISK_NAME_MAX];
    bool writable;
};

struct flight {
    struct flight *next;
    struct tael_disk_request *request;
    struct file *file;
    uint64_t pending_id; /* a sync covers what was complete when it was asked for */
    tael_u128 checksum; /* of a write's data */
};

struct disk_sim {
    struct tael_disk disk;
    struct test_random random;
    struct entries seen;
    struct entries durable;
    struct file **files; /* all that ever were, for the end */
    uint32_t file_count;
    struct pending *pending;
    struct pending **pending_end;
    uint64_t pending_id;
    struct pending_name *names;
    struct pending_name **names_end;
    struct flight *flights;
    uint32_t flight_count;
    struct open_file open[TAEL_DISK_FILES_MAX];
    bool locked;
    bool down;
    uint64_t fail_after;
    uint64_t capacity;
    uint64_t write_errors_once_in;
    bool files_short;
    char read_error_name[TAEL_DISK_NAME_MAX];
    uint64_t read_error_offset;
};

static void *allocate(size_t size) {
    void *memory = calloc(1, size);
    TAEL_ASSERT(memory != NULL);
    return memory;
}

static struct disk_sim *sim_of(struct tael_disk *disk) { return TAEL_CONTAINER_OF(disk, struct disk_sim, disk); }

/* --- content --- */

static void image_size(struct image *image, uint64_t size) {
    const uint64_t count = (size + TAEL_SECTOR_SIZE - 1) / TAEL_SECTOR_SIZE;
    if (count <= image->count) return;
    image->sectors = realloc(image->sectors, count * sizeof *image->sectors);
    TAEL_ASSERT(image->sectors != NULL);
    memset(image->sectors + image->count, 0, (count - image->count) * sizeof *image->sectors);
    image->count = count;
}

/* Any offset and size; `data` NULL writes zeros. */
static void image_write(struct image *image, uint64_t offset, const uint8_t *data, uint64_t size) {
    image_size(image, offset + size);
    for (uint64_t done = 0; done < size;) {
        const uint64_t index = (offset + done) / TAEL_SECTOR_SIZE;
        const uint64_t at = (offset + done) % TAEL_SECTOR_SIZE;
        uint64_t part = TAEL_SECTOR_SIZE - at;
        if (part > size - done) part = size - done;
        uint8_t **sector = &image->sectors[index];
        const bool zeros = data == NULL || tael_bytes_are_zero(data + done, part);
        if (zeros && part == TAEL_SECTOR_SIZE) {
            free(*sector);
            *sector = NULL;
        } else if (!zeros || *sector != NULL) {
            if (*sector == NULL) *sector = allocate(TAEL_SECTOR_SIZE);
            if (zeros)
                memset(*sector + at, 0, part);
            else
                memcpy(*sector + at, data + done, part);
        }
        done += part;
    }
}

static void image_read(const struct image *image, uint64_t offset, uint8_t *data, uint64_t size) {
    for (uint64_t done = 0; done < size;) {
        const uint64_t index = (offset + done) / TAEL_SECTOR_SIZE;
        const uint64_t at = (offset + done) % TAEL_SECTOR_SIZE;
        uint64_t part = TAEL_SECTOR_SIZE - at;
        if (part > size - done) part = size - done;
        const uint8_t *sector = index < image->count ? image->sectors[index] : NULL;
        if (sector == NULL)
            memset(data + done, 0, part);
        else
            memcpy(data + done, sector + at, part);
        done += part;
    }
}

static void image_clear(struct image *image) {
    for (uint64_t i = 0; i < image->count; i++) free(image->sectors[i]);
    free(image->sectors);
    *image = (struct image){0};
}

static void image_copy(struct image *to, const struct image *from) {
    image_clear(to);
    image_size(to, from->count * TAEL_SECTOR_SIZE);
    for (uint64_t i = 0; i < from->count; i++) {
        if (from->sectors[i] == NULL) continue;
        to->sectors[i] = allocate(TAEL_SECTOR_SIZE);
        memcpy(to->sectors[i], from->sectors[i], TAEL_SECTOR_SIZE);
    }
}

/* --- names --- */

static struct entry *entry_find(struct entries *entries, const char *name) {
    for (uint32_t i = 0; i < entries->count; i++) {
        if (strcmp(entries->list[i].name, name) == 0) return &entries->list[i];
    }
    return NULL;
}

static void entry_add(struct entries *entries, const char *name, struct file *file) {
    TAEL_ASSERT(entries->count < ENTRIES_MAX);
    struct entry *entry = &entries->list[entries->count++];
    (void)snprintf(entry->name, sizeof entry->name, "%s", name);
    entry->file = file;
}

static void entry_remove(struct entries *entries, const char *name) {
    struct entry *entry = entry_find(entries, name);
    TAEL_ASSERT(entry != NULL);
    *entry = entries->list[--entries->count];
}

static void names_apply(struct entries *entries, const struct pending_name *change) {
    switch (change->change) {
    case NAME_MADE:
        entry_add(entries, change->name, change->file);
        break;
    case NAME_CHANGED:
        entry_remove(entries, change->name);
        entry_add(entries, change->name_new, change->file);
        break;
    case NAME_REMOVED:
        entry_remove(entries, change->name);
        break;
    }
}

static void names_change(struct disk_sim *sim, enum name_change change, const char *name, const char *name_new,
                         struct file *file) {
    struct pending_name *pending = allocate(sizeof *pending);
    pending->change = change;
    pending->file = file;
    (void)snprintf(pending->name, sizeof pending->name, "%s", name);
    (void)snprintf(pending->name_new, sizeof pending->name_new, "%s", name_new);
    names_apply(&sim->seen, pending);
    *sim->names_end = pending;
    sim->names_end = &pending->next;
}

/* Carries out the first `count` changes, whatever their directory: one journal has them all, in order. */
static void names_settle(struct disk_sim *sim, uint64_t count) {
    while (count-- > 0 && sim->names != NULL) {
        struct pending_name *pending = sim->names;
        names_apply(&sim->durable, pending);
        sim->names = pending->next;
        if (sim->names == NULL) sim->names_end = &sim->names;
        free(pending);
    }
}

static struct file *file_new(struct disk_sim *sim, bool directory) {
    struct file *file = allocate(sizeof *file);
    file->directory = directory;
    sim->files = realloc(sim->files, (sim->file_count + 1) * sizeof *sim->files);
    TAEL_ASSERT(sim->files != NULL);
    sim->files[sim->file_count++] = file;
    return file;
}

/* --- faults --- */

/* Every call and every completion counts. True when the power is gone. */
static bool power_is_gone(struct disk_sim *sim) {
    if (sim->fail_after == 0)
        sim->down = true;
    else if (sim->fail_after != UINT64_MAX)
        sim->fail_after--;
    return sim->down;
}

static bool read_fails(const struct disk_sim *sim, const struct open_file *open, uint64_t offset, uint64_t size) {
    if (sim->read_error_name[0] == '\0' || strcmp(sim->read_error_name, open->name) != 0) return false;
    return sim->read_error_offset >= offset && sim->read_error_offset < offset + size;
}

static void pending_add(struct disk_sim *sim, struct file *file, uint64_t offset, const void *data, uint32_t size) {
    struct pending *pending = allocate(sizeof *pending);
    pending->id = ++sim->pending_id;
    pending->file = file;
    pending->offset = offset;
    pending->size = size;
    if (!tael_bytes_are_zero(data, size)) {
        pending->data = allocate(size);
        memcpy(pending->data, data, size);
    }
    *sim->pending_end = pending;
    sim->pending_end = &pending->next;
}

/* Makes durable what `file` had pending up to `id`. */
static void pending_settle(struct disk_sim *sim, const struct file *file, uint64_t id) {
    struct pending **link = &sim->pending;
    while (*link != NULL) {
        struct pending *pending = *link;
        if (pending->file != file || pending->id > id) {
            link = &pending->next;
            continue;
        }
        image_write(&pending->file->durable, pending->offset, pending->data, pending->size);
        *link = pending->next;
        free(pending->data);
        free(pending);
    }
    sim->pending_end = link;
}

static void tear(struct disk_sim *sim, const struct pending *pending, bool garble) {
    uint8_t noise[TEAR_SIZE];
    for (uint32_t done = 0; done < pending->size; done += TEAR_SIZE) {
        const uint64_t lot = test_random_below(&sim->random, garble ? 3 : 2);
        if (lot == 0) continue;
        const uint8_t *data = pending->data == NULL ? NULL : pending->data + done;
        if (lot == 2) {
            test_random_bytes(&sim->random, noise, sizeof noise);
            data = noise;
        }
        image_write(&pending->file->durable, pending->offset + done, data, TEAR_SIZE);
    }
}

/* What a power cut makes of a write that is not durable. */
static void pending_lot(struct disk_sim *sim, const struct pending *pending) {
    switch (test_random_below(&sim->random, 5)) {
    case 0:
    case 1:
        image_write(&pending->file->durable, pending->offset, pending->data, pending->size);
        break;
    case 2:
        break;
    case 3:
        tear(sim, pending, false);
        break;
    case 4:
        tear(sim, pending, true);
        break;
    }
}

/* --- synchronous operations --- */

static int sim_directory_make(struct tael_disk *disk, const char *name) {
    struct disk_sim *sim = sim_of(disk);
    if (power_is_gone(sim)) return -EIO;
    if (entry_find(&sim->seen, name) != NULL) return -EEXIST;
    names_change(sim, NAME_MADE, name, "", file_new(sim, true));
    return 0;
}

static int sim_list(struct tael_disk *disk, const char *name, tael_disk_visit *visit, void *context) {
    struct disk_sim *sim = sim_of(disk);
    if (power_is_gone(sim)) return -EIO;
    const size_t length = strlen(name);
    for (uint32_t i = 0; i < sim->seen.count; i++) {
        const char *entry = sim->seen.list[i].name;
        if (length > 0 && (strncmp(entry, name, length) != 0 || entry[length] != '/')) continue;
        if (length > 0) entry += length + 1;
        if (strchr(entry, '/') != NULL) continue;
        const int result = visit(context, entry);
        if (result != 0) return result;
    }
    return 0;
}

static tael_file open_place(struct disk_sim *sim, struct file *file, const char *name, bool writable) {
    for (tael_file i = 0; i < TAEL_DISK_FILES_MAX; i++) {
        if (sim->open[i].file != NULL) continue;
        sim->open[i] = (struct open_file){.file = file, .writable = writable};
        (void)snprintf(sim->open[i].name, sizeof sim->open[i].name, "%s", name);
        return i;
    }
    TAEL_ASSERT(false);
    return TAEL_FILE_NONE;
}

static struct open_file *open_of(struct disk_sim *sim, tael_file file) {
    TAEL_ASSERT(file >= 0);
    TAEL_ASSERT(file < TAEL_DISK_FILES_MAX);
    TAEL_ASSERT(sim->open[file].file != NULL);
    return &sim->open[file];
}

static int open_by_name(struct disk_sim *sim, const char *name, uint32_t flags, tael_file *file) {
    static struct file root = {.directory = true};
    struct entry *entry = entry_find(&sim->seen, name);
    struct file *found = name[0] == '\0' ? &root : entry != NULL ? entry->file : NULL;
    if ((flags & TAEL_DISK_CREATE) != 0) {
        if (found != NULL) return -EEXIST;
        found = file_new(sim, false);
        names_change(sim, NAME_MADE, name, "", found);
    }
    if (found == NULL) return -ENOENT;
    if (found->directory != ((flags & TAEL_DISK_DIRECTORY) != 0)) return -EISDIR;
    *file = open_place(sim, found, name, (flags & TAEL_DISK_WRITE) != 0);
    return 0;
}

static int sim_open(struct tael_disk *disk, const char *name, uint32_t flags, tael_file *file) {
    struct disk_sim *sim = sim_of(disk);
    if (power_is_gone(sim)) return -EIO;
    return open_by_name(sim, name, flags, file);
}

static void sim_close(struct tael_disk *disk, tael_file file) { *open_of(sim_of(disk), file) = (struct open_file){0}; }

static int sim_size(struct tael_disk *disk, tael_file file, uint64_t *size_bytes) {
    struct disk_sim *sim = sim_of(disk);
    if (power_is_gone(sim)) return -EIO;
    *size_bytes = open_of(sim, file)->file->seen.count * TAEL_SECTOR_SIZE;
    return 0;
}

static int read_now(struct disk_sim *sim, tael_file file, void *buffer, uint32_t size, uint64_t offset) {
    const struct open_file *open = open_of(sim, file);
    TAEL_ASSERT(offset % TAEL_SECTOR_SIZE == 0);
    TAEL_ASSERT(size % TAEL_SECTOR_SIZE == 0);
    if (read_fails(sim, open, offset, size)) return -EIO;
    if (offset + size > open->file->seen.count * TAEL_SECTOR_SIZE) return -EIO;
    image_read(&open->file->seen, offset, buffer, size);
    return 0;
}

static int sim_read(struct tael_disk *disk, tael_file file, void *buffer, uint32_t size, uint64_t offset) {
    struct disk_sim *sim = sim_of(disk);
    if (power_is_gone(sim)) return -EIO;
    return read_now(sim, file, buffer, size, offset);
}

static void write_now(struct disk_sim *sim, struct file *file, const void *buffer, uint32_t size, uint64_t offset) {
    TAEL_ASSERT(offset % TAEL_SECTOR_SIZE == 0);
    TAEL_ASSERT(size % TAEL_SECTOR_SIZE == 0);
    image_write(&file->seen, offset, buffer, size);
    pending_add(sim, file, offset, buffer, size);
}

/* The power may fail in the middle of a write: then it is pending like any other. */
static int sim_write(struct tael_disk *disk, tael_file file, const void *buffer, uint32_t size, uint64_t offset) {
    struct disk_sim *sim = sim_of(disk);
    struct open_file *open = open_of(sim, file);
    TAEL_ASSERT(open->writable);
    if (sim->down) return -EIO;
    write_now(sim, open->file, buffer, size, offset);
    return power_is_gone(sim) ? -EIO : 0;
}

static void sync_now(struct disk_sim *sim, struct file *file, uint64_t pending_id) {
    if (file->directory)
        names_settle(sim, UINT64_MAX);
    else
        pending_settle(sim, file, pending_id);
}

static int sim_sync(struct tael_disk *disk, tael_file file) {
    struct disk_sim *sim = sim_of(disk);
    if (power_is_gone(sim)) return -EIO;
    sync_now(sim, open_of(sim, file)->file, UINT64_MAX);
    return 0;
}

static int rename_now(struct disk_sim *sim, const char *name, const char *name_new) {
    struct entry *entry = entry_find(&sim->seen, name);
    if (entry == NULL) return -ENOENT;
    if (entry_find(&sim->seen, name_new) != NULL) return -EEXIST;
    names_change(sim, NAME_CHANGED, name, name_new, entry->file);
    return 0;
}

static int sim_rename(struct tael_disk *disk, const char *name, const char *name_new) {
    struct disk_sim *sim = sim_of(disk);
    return power_is_gone(sim) ? -EIO : rename_now(sim, name, name_new);
}

static int remove_now(struct disk_sim *sim, const char *name) {
    struct entry *entry = entry_find(&sim->seen, name);
    if (entry == NULL) return -ENOENT;
    names_change(sim, NAME_REMOVED, name, "", entry->file);
    return 0;
}

static int sim_remove(struct tael_disk *disk, const char *name) {
    struct disk_sim *sim = sim_of(disk);
    return power_is_gone(sim) ? -EIO : remove_now(sim, name);
}

static uint64_t used_bytes(const struct disk_sim *sim) {
    uint64_t used = 0;
    for (uint32_t i = 0; i < sim->seen.count; i++) used += sim->seen.list[i].file->seen.count * TAEL_SECTOR_SIZE;
    return used;
}

static int sim_free_space(struct tael_disk *disk, uint64_t *size_bytes) {
    struct disk_sim *sim = sim_of(disk);
    if (power_is_gone(sim)) return -EIO;
    const uint64_t used = used_bytes(sim);
    *size_bytes = used < sim->capacity ? sim->capacity - used : 0;
    return 0;
}

static int sim_lock(struct tael_disk *disk, const char *name, uint64_t *holder_process) {
    struct disk_sim *sim = sim_of(disk);
    if (power_is_gone(sim)) return -EIO;
    if (sim->locked) {
        *holder_process = 1;
        return -EBUSY;
    }
    if (entry_find(&sim->seen, name) == NULL) names_change(sim, NAME_MADE, name, "", file_new(sim, false));
    sim->locked = true;
    return 0;
}

static int sim_register_buffers(struct tael_disk *disk, void *base, size_t size) {
    (void)disk;
    (void)base;
    (void)size;
    return -ENOMEM; /* as a kernel whose limit is too low */
}

/* --- asynchronous operations --- */

static void sim_submit(struct tael_disk *disk, struct tael_disk_request *request) {
    struct disk_sim *sim = sim_of(disk);
    struct flight *flight = allocate(sizeof *flight);
    flight->request = request;
    flight->pending_id = sim->pending_id;
    const bool has_file = request->verb <= TAEL_DISK_VERB_SYNC || request->verb == TAEL_DISK_VERB_RESERVE;
    if (has_file) flight->file = open_of(sim, request->file)->file;
    if (request->verb == TAEL_DISK_VERB_WRITE) flight->checksum = tael_disk_checksum(request->buffer, request->size);
    flight->next = sim->flights;
    sim->flights = flight;
    sim->flight_count++;
}

static bool overlap(const struct pending *a, const struct pending *b) {
    return a->file == b->file && a->offset < b->offset + b->size && b->offset < a->offset + a->size;
}

/* Makes the newest pending write durable, and what it overwrites: only that, though a real disk would flush all, so that
 * nothing relies on more than was asked for. */
static void pending_newest_is_durable(struct disk_sim *sim) {
    const struct pending *newest = sim->pending;
    while (newest->next != NULL) newest = newest->next;
    TAEL_ASSERT(newest->id == sim->pending_id);
    struct pending **link = &sim->pending;
    while (*link != NULL) {
        struct pending *pending = *link;
        if (!overlap(pending, newest)) {
            link = &pending->next;
            continue;
        }
        image_write(&pending->file->durable, pending->offset, pending->data, pending->size);
        *link = pending->next;
        const bool last = pending == newest;
        free(pending->data);
        free(pending);
        if (last) break;
    }
    sim->pending_end = link;
}

static int32_t complete_write(struct disk_sim *sim, const struct flight *flight) {
    const struct tael_disk_request *request = flight->request;
    TAEL_ASSERT(flight->checksum == tael_disk_checksum(request->buffer, request->size));
    uint32_t size = request->size;
    const bool fails = request->durable && sim->write_errors_once_in != 0 &&
                       test_random_once_in(&sim->random, sim->write_errors_once_in);
    if (fails && test_random_once_in(&sim->random, 2)) return -EIO;
    if (fails) size = (uint32_t)test_random_below(&sim->random, size / TAEL_SECTOR_SIZE) * TAEL_SECTOR_SIZE;
    if (size == 0) return 0;
    write_now(sim, flight->file, request->buffer, size, request->offset);
    if (request->durable && !fails) pending_newest_is_durable(sim);
    return (int32_t)size;
}

static int32_t complete_reserve(struct disk_sim *sim, const struct flight *flight) {
    const uint64_t size = flight->request->size_file;
    if (used_bytes(sim) + size > sim->capacity) return -ENOSPC;
    image_size(&flight->file->seen, size);
    image_size(&flight->file->durable, size);
    return 0;
}

static int32_t complete(struct disk_sim *sim, const struct flight *flight) {
    struct tael_disk_request *request = flight->request;
    switch (request->verb) {
    case TAEL_DISK_VERB_READ: {
        const int error = read_now(sim, request->file, request->buffer, request->size, request->offset);
        return error != 0 ? error : (int32_t)request->size;
    }
    case TAEL_DISK_VERB_WRITE:
        return complete_write(sim, flight);
    case TAEL_DISK_VERB_SYNC:
        sync_now(sim, flight->file, flight->pending_id);
        return 0;
    case TAEL_DISK_VERB_CREATE:
        if (sim->files_short) return -EMFILE;
        return open_by_name(sim, request->name, TAEL_DISK_WRITE | TAEL_DISK_CREATE, &request->file);
    case TAEL_DISK_VERB_RESERVE:
        return complete_reserve(sim, flight);
    case TAEL_DISK_VERB_RENAME:
        return rename_now(sim, request->name, request->name_new);
    case TAEL_DISK_VERB_REMOVE:
        return remove_now(sim, request->name);
    }
    return -EINVAL;
}

static struct flight *flight_take(struct disk_sim *sim) {
    struct flight **link = &sim->flights;
    for (uint64_t skip = test_random_below(&sim->random, sim->flight_count); skip > 0; skip--) link = &(*link)->next;
    struct flight *flight = *link;
    *link = flight->next;
    sim->flight_count--;
    return flight;
}

/* Without power a request comes to nothing, but a write may have arrived in part. */
static int32_t complete_without_power(struct disk_sim *sim, const struct flight *flight) {
    const struct tael_disk_request *request = flight->request;
    if (request->verb == TAEL_DISK_VERB_WRITE) {
        write_now(sim, flight->file, request->buffer, request->size, request->offset);
    }
    return -EIO;
}

bool disk_sim_step(struct disk_sim *sim) {
    if (sim->flights == NULL) return false;
    struct flight *flight = flight_take(sim);
    struct tael_disk_request *request = flight->request;
    const int32_t result = power_is_gone(sim) ? complete_without_power(sim, flight) : complete(sim, flight);
    free(flight);
    request->done(request, result);
    return true;
}

static int sim_wait(struct tael_disk *disk) {
    struct disk_sim *sim = sim_of(disk);
    TAEL_ASSERT(sim->flights != NULL);
    return disk_sim_step(sim) ? 0 : -EIO;
}

static void sim_destroy(struct tael_disk *disk) { (void)disk; /* it outlives processes: see disk_sim_free */ }

/* --- crashes --- */

/* Writes in flight may have arrived in part, or whole: they become pending ones, in any order. */
static void flights_end(struct disk_sim *sim, enum disk_sim_crash crash) {
    while (sim->flights != NULL) {
        struct flight *flight = flight_take(sim);
        const bool arrives = crash == DISK_SIM_CRASH_POWER || test_random_once_in(&sim->random, 2);
        if (arrives) (void)complete_without_power(sim, flight);
        free(flight);
    }
}

static bool is_named(const struct disk_sim *sim, const struct file *file) {
    for (uint32_t i = 0; i < sim->durable.count; i++) {
        if (sim->durable.list[i].file == file) return true;
    }
    return false;
}

static void power_cut(struct disk_sim *sim) {
    uint64_t names = 0;
    for (const struct pending_name *pending = sim->names; pending != NULL; pending = pending->next) names++;
    names_settle(sim, test_random_below(&sim->random, names + 1));
    while (sim->names != NULL) {
        struct pending_name *pending = sim->names;
        sim->names = pending->next;
        free(pending);
    }
    sim->names_end = &sim->names;
    while (sim->pending != NULL) {
        struct pending *pending = sim->pending;
        pending_lot(sim, pending);
        sim->pending = pending->next;
        free(pending->data);
        free(pending);
    }
    sim->pending_end = &sim->pending;
    sim->seen = sim->durable;
    for (uint32_t i = 0; i < sim->file_count; i++) {
        struct file *file = sim->files[i];
        if (!is_named(sim, file)) image_clear(&file->durable);
        image_copy(&file->seen, &file->durable);
    }
}

void disk_sim_crash(struct disk_sim *sim, enum disk_sim_crash crash) {
    flights_end(sim, crash);
    if (crash == DISK_SIM_CRASH_POWER) power_cut(sim);
    memset(sim->open, 0, sizeof sim->open);
    sim->locked = false;
    sim->down = false;
    sim->fail_after = UINT64_MAX;
    sim->write_errors_once_in = 0;
    sim->files_short = false;
}

void disk_sim_fail_after(struct disk_sim *sim, uint64_t operations) { sim->fail_after = operations; }
bool disk_sim_is_down(const struct disk_sim *sim) { return sim->down; }
void disk_sim_set_files_short(struct disk_sim *sim, bool files_short) { sim->files_short = files_short; }

void disk_sim_set_write_errors(struct disk_sim *sim, uint64_t once_in) { sim->write_errors_once_in = once_in; }
void disk_sim_set_capacity(struct disk_sim *sim, uint64_t capacity_bytes) { sim->capacity = capacity_bytes; }

void disk_sim_set_read_error(struct disk_sim *sim, const char *name, uint64_t offset) {
    (void)snprintf(sim->read_error_name, sizeof sim->read_error_name, "%s", name == NULL ? "" : name);
    sim->read_error_offset = offset;
}

/* --- past all faults --- */

static struct file *file_named(struct disk_sim *sim, const char *name) {
    const struct entry *entry = entry_find(&sim->seen, name);
    TAEL_ASSERT(entry != NULL);
    return entry->file;
}

void disk_sim_peek(struct disk_sim *sim, const char *name, void *buffer, uint64_t size, uint64_t offset) {
    image_read(&file_named(sim, name)->seen, offset, buffer, size);
}

void disk_sim_poke(struct disk_sim *sim, const char *name, const void *buffer, uint64_t size, uint64_t offset) {
    struct file *file = file_named(sim, name);
    image_write(&file->seen, offset, buffer, size);
    image_write(&file->durable, offset, buffer, size);
}

void disk_sim_flip_bit(struct disk_sim *sim, const char *name, uint64_t offset, uint32_t bit) {
    uint8_t byte;
    disk_sim_peek(sim, name, &byte, 1, offset);
    byte = (uint8_t)(byte ^ (1u << bit));
    disk_sim_poke(sim, name, &byte, 1, offset);
}

bool disk_sim_exists(struct disk_sim *sim, const char *name) { return entry_find(&sim->seen, name) != NULL; }

uint64_t disk_sim_checksum(struct disk_sim *sim) {
    uint64_t sum = 0;
    for (uint32_t i = 0; i < sim->seen.count; i++) {
        const struct entry *entry = &sim->seen.list[i];
        sum += (uint64_t)tael_disk_checksum(entry->name, strlen(entry->name));
        for (uint64_t j = 0; j < entry->file->seen.count; j++) {
            const uint8_t *sector = entry->file->seen.sectors[j];
            if (sector == NULL || tael_bytes_are_zero(sector, TAEL_SECTOR_SIZE)) continue;
            sum += (uint64_t)tael_disk_checksum(sector, TAEL_SECTOR_SIZE) * (j + 1 + i);
        }
    }
    return sum;
}

/* --- start and end --- */

static const struct tael_disk_operations sim_operations = {
    .directory_make = sim_directory_make,
    .list = sim_list,
    .open = sim_open,
    .close = sim_close,
    .size = sim_size,
    .read = sim_read,
    .write = sim_write,
    .sync = sim_sync,
    .rename = sim_rename,
    .remove = sim_remove,
    .free_space = sim_free_space,
    .lock = sim_lock,
    .register_buffers = sim_register_buffers,
    .submit = sim_submit,
    .wait = sim_wait,
    .destroy = sim_destroy,
};

struct disk_sim *disk_sim_new(uint64_t seed, uint64_t capacity_bytes) {
    struct disk_sim *sim = allocate(sizeof *sim);
    sim->disk.operations = &sim_operations;
    sim->random.state = seed;
    sim->pending_end = &sim->pending;
    sim->names_end = &sim->names;
    sim->fail_after = UINT64_MAX;
    sim->capacity = capacity_bytes;
    return sim;
}

struct tael_disk *disk_sim_disk(struct disk_sim *sim) {
    return &sim->disk;
}

void disk_sim_free(struct disk_sim *sim) {
    disk_sim_crash(sim, DISK_SIM_CRASH_POWER);
    for (uint32_t i = 0; i < sim->file_count; i++) {
        image_clear(&sim->files[i]->seen);
        image_clear(&sim->files[i]->durable);
        free(sim->files[i]);
    }
    free(sim->files);
    free(sim);
}
