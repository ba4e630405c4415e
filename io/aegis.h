/* The checksum of the client protocol: AEGIS-128L (draft-irtf-cfrg-aegis-aead) used as a hash: key and nonce zero, the data
 * as associated data, no message, a 128-bit tag. It finds accidents; with a public key it is no proof against a forger.
 *
 * Pure; any thread. Needs AES-NI and AVX: ask tael_aegis_supported() once at start, before anything else here. */
#ifndef TAEL_IO_AEGIS_H
#define TAEL_IO_AEGIS_H

#include <stdbool.h>
#include <stddef.h>

#include <tael/u128.h>

/* True when this processor has the instructions that tael_checksum was built with. */
bool tael_aegis_supported(void);

/* The checksum of `size` bytes at `data` (any alignment; NULL only with size 0), in the byte order of the wire. */
tael_u128 tael_checksum(const void *data, size_t size);

#endif
