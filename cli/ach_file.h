/* Feeds a file to the ACH reader, from its beginning; a file that gzip packed is unpacked on the way. */
#ifndef TAEL_CLI_ACH_FILE_H
#define TAEL_CLI_ACH_FILE_H

#include "cli/ach.h"
#include "cli/output.h"

/* Reads the open file whole. It must be seekable, since it is read twice. False when it couldn't be read to its end, or
 * was damaged in its packing: `why` then says so. The reader is not finished. */
bool tael_ach_file_feed(int file, struct tael_ach *ach, struct tael_progress *progress, char why[static 128]);

#endif
