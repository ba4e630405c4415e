/* AEGIS-128L keeps a state of eight AES blocks. One round takes 32 bytes of data: every block goes through one AES round
 * keyed with its left neighbour, and the data is added to blocks 0 and 4. The eight AES instructions of a round do not
 * depend on one another, so a round costs about one AES latency, and bodies are hashed at memory speed.
 *
 * Invariants:
 *  1. initial_state is the state after loading key 0 and nonce 0 and the ten initial rounds; tests/net derives it anew.
 *  2. Data that does not fill 32 bytes is padded with zeros; its true length enters in the final rounds. */
#include "io/aegis.h"

#include <immintrin.h>
#include <stdint.h>
#include <string.h>

enum { ROUND_SIZE = 32, FINAL_ROUNDS = 7, UNROLL = 4 };

struct state {
    __m128i block[8];
};

/* As bytes, each line one block. */
_Alignas(16) static const uint8_t initial_state[8][16] = {
    {0x72, 0xf2, 0xf4, 0x5d, 0x9e, 0xc7, 0x42, 0x02, 0x3e, 0x84, 0xaa, 0x66, 0xae, 0xfd, 0x35, 0x92},
    {0x42, 0x07, 0x1d, 0xcd, 0x30, 0x1a, 0xf7, 0xcf, 0x8a, 0x7c, 0x6c, 0x4a, 0x20, 0xf6, 0x30, 0x65},
    {0xf8, 0x4e, 0xa4, 0xa1, 0xc6, 0xaa, 0x99, 0xce, 0xa5, 0x1d, 0x8b, 0x5c, 0x9c, 0xc3, 0x05, 0x8f},
    {0x0f, 0xc0, 0x5e, 0x11, 0x17, 0xaf, 0x10, 0x75, 0xa4, 0x11, 0x19, 0xf3, 0x29, 0xc5, 0xa8, 0xd2},
    {0x57, 0x88, 0x8c, 0x33, 0xd3, 0x16, 0x03, 0x55, 0x36, 0x40, 0x35, 0xc8, 0xf2, 0x1e, 0x79, 0x86},
    {0x48, 0xfa, 0x4b, 0x5d, 0xd5, 0x70, 0x42, 0xc4, 0x08, 0x4f, 0xe9, 0xf5, 0x15, 0x08, 0xb6, 0x44},
    {0x0b, 0x99, 0x89, 0xcc, 0x91, 0x05, 0x03, 0x85, 0x03, 0x05, 0xde, 0x7e, 0xf1, 0xa9, 0x8b, 0xfe},
    {0xb3, 0x0e, 0x75, 0x21, 0x39, 0x0c, 0xcf, 0x8e, 0xcf, 0xe9, 0x4a, 0xf6, 0x87, 0x95, 0x5d, 0xd7},
};

/* In falling order, so that each block is read as a neighbour before it is replaced. */
__attribute__((always_inline)) static inline void state_round(struct state *state, __m128i data_0, __m128i data_1) {
    __m128i *block = state->block;
    const __m128i last = block[7];
    block[7] = _mm_aesenc_si128(block[6], block[7]);
    block[6] = _mm_aesenc_si128(block[5], block[6]);
    block[5] = _mm_aesenc_si128(block[4], block[5]);
    block[4] = _mm_aesenc_si128(block[3], _mm_xor_si128(block[4], data_1));
    block[3] = _mm_aesenc_si128(block[2], block[3]);
    block[2] = _mm_aesenc_si128(block[1], block[2]);
    block[1] = _mm_aesenc_si128(block[0], block[1]);
    block[0] = _mm_aesenc_si128(last, _mm_xor_si128(block[0], data_0));
}

__attribute__((always_inline)) static inline void state_absorb(struct state *state, const uint8_t *data) {
    state_round(state, _mm_loadu_si128((const __m128i *)(const void *)data),
                _mm_loadu_si128((const __m128i *)(const void *)(data + 16)));
}

static inline void state_load(struct state *state) {
    for (int i = 0; i < 8; i++) {
        state->block[i] = _mm_load_si128((const __m128i *)(const void *)initial_state[i]);
    }
}

/* Mixes the length in and folds the state into the tag. */
static inline tael_u128 state_tag(struct state *state, size_t size) {
    const __m128i length = _mm_set_epi64x(0, (long long)((uint64_t)size * 8)); /* bits of data, bits of message */
    const __m128i data = _mm_xor_si128(state->block[2], length);
    for (int i = 0; i < FINAL_ROUNDS; i++) state_round(state, data, data);
    __m128i tag = state->block[0];
    for (int i = 1; i < 7; i++) tag = _mm_xor_si128(tag, state->block[i]);
    tael_u128 result;
    memcpy(&result, &tag, sizeof result);
    return result;
}

bool tael_aegis_supported(void) {
    return __builtin_cpu_supports("aes") && __builtin_cpu_supports("avx2") && __builtin_cpu_supports("bmi2");
}

tael_u128 tael_checksum(const void *data, size_t size) {
    const uint8_t *at = data;
    size_t left = size;
    struct state state;
    state_load(&state);
    for (; left >= ROUND_SIZE * UNROLL; left -= ROUND_SIZE * UNROLL, at += ROUND_SIZE * UNROLL) {
        state_absorb(&state, at);
        state_absorb(&state, at + ROUND_SIZE);
        state_absorb(&state, at + 2 * ROUND_SIZE);
        state_absorb(&state, at + 3 * ROUND_SIZE);
    }
    for (; left >= ROUND_SIZE; left -= ROUND_SIZE, at += ROUND_SIZE) state_absorb(&state, at);
    if (left > 0) {
        uint8_t padded[ROUND_SIZE] = {0};
        memcpy(padded, at, left);
        state_absorb(&state, padded);
    }
    return state_tag(&state, size);
}
