/* The records that `tael repl` reads and shows, and the requests made of them: one row a field, one row a request. The
 * parser, the printer and the help all go by these tables. */
#ifndef TAEL_CLI_REPL_RECORD_H
#define TAEL_CLI_REPL_RECORD_H

#include <stddef.h>
#include <stdint.h>

#include <tael/record.h>
#include <tael/u128.h>

/* What a field's number means. All but the first two have names for their values. */
enum tael_repl_kind {
    TAEL_REPL_NUMBER,
    TAEL_REPL_TIME, /* ns since 1970 */
    TAEL_REPL_ACCOUNT_FLAGS,
    TAEL_REPL_TRANSFER_FLAGS,
    TAEL_REPL_ACCOUNT_FILTER_FLAGS,
    TAEL_REPL_QUERY_FILTER_FLAGS,
    TAEL_REPL_CHANGE_TYPE,
};

enum tael_repl_use {
    TAEL_REPL_KEY, /* must be given */
    TAEL_REPL_MAIN, /* may be given */
    TAEL_REPL_MORE, /* may be given; people don't see it when it is zero */
    TAEL_REPL_OUT, /* the server's alone */
    TAEL_REPL_REST, /* the server's alone; people don't see it when it is zero */
};

struct tael_repl_name {
    const char *text;
    uint32_t value; /* a flag's bit, or a type */
};

struct tael_repl_field {
    const char *name;
    enum tael_repl_kind kind;
    enum tael_repl_use use;
    uint32_t offset;
    uint32_t width; /* bytes, 1 to 16 */
};

struct tael_repl_record {
    const char *name; /* of one; an s makes it more */
    const struct tael_repl_field *fields;
    size_t fields_count;
};

/* Bytes of an event, and fields of a record, at most. */
enum { TAEL_REPL_EVENT_SIZE_MAX = 128, TAEL_REPL_FIELDS_MAX = 40 };

struct tael_repl_request {
    uint8_t operation; /* enum tael_operation */
    const struct tael_repl_record *event;
    const struct tael_repl_record
        *result; /* NULL: neither accounts nor transfers come back, but something of its own */
    const char *summary;
    const char *example;
};

/* What a lookup is made of. */
struct tael_repl_id {
    tael_u128 id;
};

extern const struct tael_repl_request tael_repl_requests[];
extern const size_t tael_repl_requests_count;

/* NULL when there is none. */
const struct tael_repl_request *tael_repl_request_of(uint8_t operation);
const struct tael_repl_request *tael_repl_request_named(const char *name, size_t size);
const struct tael_repl_field *tael_repl_field_named(const struct tael_repl_record *record, const char *name,
                                                    size_t size);

/* The names of a kind's values, and how many; NULL and 0 for numbers. */
const struct tael_repl_name *tael_repl_names(enum tael_repl_kind kind, size_t *count);

/* As many results as the filter at `event` asks for and one reply holds; without an event, or a limit in it, as one reply
 * holds. */
uint32_t tael_repl_limit(const struct tael_repl_request *request, const void *event);

tael_u128 tael_repl_field_get(const struct tael_repl_field *field, const void *record);
void tael_repl_field_set(const struct tael_repl_field *field, void *record, tael_u128 value);
tael_u128 tael_repl_field_max(const struct tael_repl_field *field);

#endif
