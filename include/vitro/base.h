/* SPDX-License-Identifier: Apache-2.0 */
/* Status codes, the thread's last error, the log callback, the version.
 *
 * Every fallible function of the library returns a VitroStatus and leaves its results through
 * out-pointers, which it writes only on success. The text that explains a failure belongs to the
 * calling thread and is read with vitro_last_error(). The library never prints and never exits.
 *
 * Threads: there is no hidden state that callers share but the log callback. One object is for one
 * thread at a time unless its type says more: checkpoints and data sets may be read by several, and
 * a model may serve a predictor in each thread. Functions on plain values (pictures, transforms,
 * configurations, cards) may run anywhere, each thread on its own. */
#ifndef VITRO_BASE_H
#define VITRO_BASE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define VITRO_API        __attribute__((visibility("default")))
#define VITRO_MUST_CHECK __attribute__((warn_unused_result))
#else
#define VITRO_API
#define VITRO_MUST_CHECK
#endif

#define VITRO_VERSION_MAJOR 0
#define VITRO_VERSION_MINOR 1
#define VITRO_VERSION_PATCH 0

/* The values are pinned: they are part of the ABI. */
typedef enum VitroStatus {
    VITRO_OK = 0,
    VITRO_E_ARG = 1,         /* an argument is out of its range */
    VITRO_E_SHAPE = 2,       /* a tensor has another shape than the model needs */
    VITRO_E_NOMEM = 3,       /* memory could not be had */
    VITRO_E_IO = 4,          /* the operating system refused a file operation */
    VITRO_E_FORMAT = 5,      /* a file's contents are damaged or not what they claim */
    VITRO_E_UNSUPPORTED = 6, /* valid, but not something this build can do */
    VITRO_E_BACKEND = 7,     /* a compute library or device failed */
    VITRO_E_NUMERIC = 8,     /* NaN or infinity where a number is needed */
    VITRO_E_CANCELLED = 9,   /* a callback asked to stop */
    VITRO_E_INTERNAL = 10    /* a bug of ours */
} VitroStatus;

/* "VITRO_E_SHAPE" and so on; "VITRO_E_?" for a value that is none. Static storage. */
VITRO_API const char *vitro_status_name(VitroStatus status);

/* One line, without a trailing newline, about the last failure in this thread: it names the thing,
 * the value found and the limit. Never NULL. Valid until the next vitro call of this thread. */
VITRO_API const char *vitro_last_error(void);

/* "0.1.0". Static storage. */
VITRO_API const char *vitro_version(void);

/* What this build was made with, one library per line ("libjpeg-turbo 2.1.5\nlibpng 1.6.39\n...").
 * Static storage. */
VITRO_API const char *vitro_build_info(void);

/* Bytes that the system would still give to this process: the least of what is available in the
 * machine (swap aside), what the process's control groups leave, and what its limits of address
 * space and data leave. -1: the system does not tell. Where the environment has
 * VITRO_MEMORY_AVAILABLE=<bytes>, that is the answer. */
VITRO_API int64_t vitro_memory_available(void);

/* A file that appears under its name whole or not at all, as all files do that the library writes:
 * what is written goes to "<path>.vitro-tmp"; commit syncs that, renames it over `path` (or what
 * the link `path` leads to) and syncs the folder. */
typedef struct VitroOutput VitroOutput;
/* Errors: VITRO_E_IO (also: another program is writing it, or it is no regular file), _NOMEM. */
VITRO_API VITRO_MUST_CHECK VitroStatus vitro_output_open(VitroOutput **out, const char *path);
/* The open file to write to, in whatever way. Not to be closed. */
VITRO_API int vitro_output_fd(const VitroOutput *output);
/* Puts the file in its place. Frees `output`; after a failure nothing is left of the file. */
VITRO_API VITRO_MUST_CHECK VitroStatus vitro_output_commit(VitroOutput *output);
VITRO_API void vitro_output_abort(VitroOutput *output); /* forgets it all; NULL is fine */

typedef enum VitroLogLevel { VITRO_LOG_INFO = 0, VITRO_LOG_WARN = 1 } VitroLogLevel;

/* `line` has no trailing newline and is valid during the call only. May be called from any thread,
 * but never from two at once. */
typedef void (*VitroLogFn)(void *user, VitroLogLevel level, const char *line);

/* Sends the library's log lines to `fn` (NULL: nowhere, the default). Process-wide. */
VITRO_API void vitro_set_log(VitroLogFn fn, void *user);

#ifdef __cplusplus
}
#endif
#endif
