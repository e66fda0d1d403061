/* SPDX-License-Identifier: Apache-2.0 */
/* What the fuzz targets share. A target is fuzz_<name>.c: it defines the function that libFuzzer
 * calls with hostile bytes, and the limits that replay.c holds it to. It must return whatever the
 * bytes are; FUZZ_CHECK ends the process where the library broke a promise. */
#ifndef VITRO_TESTS_FUZZ_H
#define VITRO_TESTS_FUZZ_H

#include "base/buf.h"
#include "vitro/checkpoint.h"

#include <stddef.h>
#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The memory that an input may take at once: base + per_byte * its size. */
typedef struct FuzzLimits {
    size_t base, per_byte;
} FuzzLimits;
extern const FuzzLimits fuzz_limits;

/* What the last input was read as: a hash of all that came out of it, 0 where it was refused. A
 * format with checksums must give the same, or refuse, whatever byte of a file is changed. */
extern uint64_t fuzz_digest;
extern bool fuzz_damaged; /* some of it could not be read, because a checksum told so */
void fuzz_digest_add(const void *data, size_t size); /* also of no bytes: not 0 from then on */

#define FUZZ_CHECK(condition)                                                                      \
    do {                                                                                           \
        if (!(condition))                                                                          \
            fuzz_broken(__FILE__, __LINE__, #condition);                                           \
    } while (0)
_Noreturn void fuzz_broken(const char *file, int line, const char *what);

/* A refusal: of a kind that bad bytes can cause, with a reason in one line of printable text that
 * starts with `name` (NULL: with anything). */
void fuzz_refused(VitroStatus st, const char *name);

/* The bytes as a file of its own; the path holds until the next call. No disk is involved. */
const char *fuzz_file(const uint8_t *data, size_t size);
/* A folder in memory, made once; and a file in it. */
const char *fuzz_dir(void);
void fuzz_write(const char *name, const void *data, size_t size);
void fuzz_remove(const char *name);

/* A zip archive of STORED records with right checksums around hostile bytes. */
typedef struct FuzzRecord {
    const char *name;
    const void *data;
    size_t size;
} FuzzRecord;
void fuzz_zip(VitroBuf *out, const FuzzRecord *record, int count);

/* Opens the bytes as a weight file, reads all of it in every way, and asks what it says of itself.
 * True: it could be opened. */
bool fuzz_checkpoint(const uint8_t *data, size_t size);
/* Decodes the bytes as a picture and makes a model's input of it. */
void fuzz_picture(const uint8_t *data, size_t size);
/* Nine bytes for each pixel that vitro_image_check_claim lets pass: a progressive JPEG's. */
#define FUZZ_PICTURE_LIMITS                                                                        \
    {                                                                                              \
        160 << 20, 75000                                                                           \
    }

#endif
