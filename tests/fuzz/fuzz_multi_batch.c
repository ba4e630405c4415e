/* Fuzzes the decoder of multi-batch bodies. Goal: nothing is read beyond the body, and what is accepted is the one
 * encoding of what was decoded: encoding it again gives the same bytes.
 *
 * Input: one byte that chooses the element size, then the body. */
#include <stdlib.h>

#include <tael/multi_batch.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void encode_again(const struct tael_multi_batch *batches, const uint8_t *body, uint32_t size) {
    uint8_t *again = malloc(size);
    uint16_t *counts = malloc(batches->batch_count * sizeof *counts);
    TAEL_ASSERT(again != NULL);
    TAEL_ASSERT(counts != NULL);
    for (uint32_t i = 0; i < batches->batch_count; i++) counts[i] = (uint16_t)tael_multi_batch_count(batches, i);
    memcpy(again, batches->payload, batches->payload_size);
    const uint32_t size_again =
        tael_multi_batch_encode(again, batches->payload_size, counts, batches->batch_count, batches->element_size);
    TAEL_ASSERT(size_again == size);
    TAEL_ASSERT(memcmp(again, body, size) == 0);
    free(counts);
    free(again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const uint32_t element_sizes[] = {8, 16, 64, 128};
    if (size < 1 || size > TAEL_BODY_SIZE_MAX) return 0;
    const uint32_t element_size = element_sizes[data[0] % 4];
    /* A copy of exactly its size, so that a read past the end is seen. */
    const uint32_t body_size = (uint32_t)size - 1;
    uint8_t *body = malloc(body_size > 0 ? body_size : 1);
    TAEL_ASSERT(body != NULL);
    memcpy(body, data + 1, body_size);
    struct tael_multi_batch batches;
    if (tael_multi_batch_decode(body, body_size, element_size, &batches) == TAEL_MULTI_BATCH_OK) {
        encode_again(&batches, body, body_size);
    }
    free(body);
    return 0;
}
