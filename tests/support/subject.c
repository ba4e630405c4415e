/* See subject.h. */
#include "tests/support/subject.h"

#include <tael/assert.h>
#include <tael/status.h>

void subject_expand(const struct tael_request *request, const struct tael_exception *exceptions,
                    uint32_t exception_count, struct tael_create_result *results) {
    TAEL_ASSERT(exception_count <= request->event_count);
    uint32_t next = 0;
    for (uint32_t i = 0; i < request->event_count; i++) {
        results[i] = (struct tael_create_result){
            .timestamp = request->timestamp - request->event_count + i + 1,
            .status = TAEL_STATUS_CREATED,
        };
        if (next == exception_count || exceptions[next].index != i) continue;
        results[i].timestamp = exceptions[next].timestamp;
        results[i].status = exceptions[next].status;
        next++;
    }
    TAEL_ASSERT(next == exception_count);
}
