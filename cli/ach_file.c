#include "cli/ach_file.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <zlib.h>

enum { PIECE_SIZE = 256 << 10 };

/* zlib reads what isn't packed as it is. A duplicate of the descriptor, since gzclose closes it. */
static gzFile packed_open(int file, char why[static 128]) {
    if (lseek(file, 0, SEEK_SET) < 0) {
        snprintf(why, 128,
                 errno == ESPIPE ? "it is a pipe, but the file is read twice: first checked, then posted" : "%s",
                 strerror(errno));
        return NULL;
    }
    const int own = dup(file);
    gzFile packed = own < 0 ? NULL : gzdopen(own, "rb");
    if (packed == NULL) {
        snprintf(why, 128, "%s", own < 0 ? strerror(errno) : "out of memory");
        if (own >= 0) close(own);
        return NULL;
    }
    gzbuffer(packed, PIECE_SIZE);
    return packed;
}

bool tael_ach_file_feed(int file, struct tael_ach *ach, struct tael_progress *progress, char why[static 128]) {
    gzFile packed = packed_open(file, why);
    if (packed == NULL) return false;
    char piece[PIECE_SIZE];
    uint64_t done = 0;
    int size;
    while ((size = gzread(packed, piece, sizeof piece)) > 0) {
        tael_ach_feed(ach, piece, (size_t)size);
        done += (uint64_t)size;
        if (progress != NULL) tael_progress_show(progress, done);
    }
    int error;
    const char *text = gzerror(packed, &error);
    if (error == Z_ERRNO) {
        snprintf(why, 128, "%s", strerror(errno));
    } else if (error == Z_BUF_ERROR) {
        snprintf(why, 128, "the packed file ends in the middle: it is not whole");
    } else if (error != Z_OK) {
        const char *words = strstr(text, ">: "); /* behind zlib's name for the descriptor */
        snprintf(why, 128, "the packed file is damaged: %s", words == NULL ? text : words + 3);
    }
    gzclose(packed);
    return error == Z_OK;
}
