/* SPDX-License-Identifier: Apache-2.0 */
/* Runs a fuzz target without libFuzzer: over files, over files with each byte changed, and over
 * seeded mutations of them. What an input does wrong ends the process, with the input kept in
 * replay-failed.bin of the temporary folder and the line that repeats it.
 *
 *     replay_<name> [--flips] [--mutate N] [--seed S] [--seconds S] FILE|FOLDER...
 *
 * --flips is for formats with checksums: a changed byte is refused, or changes nothing. Each input
 * has 10 s of a processor, and no more memory at once than the target's limits say: without a
 * sanitizer, whose allocator it would get in the way of, every allocation of the process is counted
 * here. */
#include "fuzz/fuzz.h"

#include "base/fs.h"
#include "base/rng.h"

#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#define MAX_INPUT    ((size_t)16 << 20)
#define SECONDS_EACH 10
#define FAILED       "/tmp/vitro-replay-failed.bin"

/* ---- memory ---------------------------------------------------------------------------------- */

#if defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define SANITIZED 1
#endif
#endif
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED 1
#endif

static _Atomic size_t held, peak;

#if defined(__GLIBC__) && !defined(SANITIZED)
#define COUNTED 1
#include <errno.h>
#include <malloc.h>

void *__libc_malloc(size_t);
void *__libc_calloc(size_t, size_t);
void *__libc_realloc(void *, size_t);
void *__libc_memalign(size_t, size_t);
void __libc_free(void *);

static void *took(void *p)
{
    if (p) {
        size_t now = atomic_fetch_add(&held, malloc_usable_size(p)) + malloc_usable_size(p);
        for (size_t old = atomic_load(&peak); now > old;)
            if (atomic_compare_exchange_weak(&peak, &old, now))
                break;
    }
    return p;
}

static void gives(void *p)
{
    if (p)
        atomic_fetch_sub(&held, malloc_usable_size(p));
}

void *malloc(size_t n)
{
    return took(__libc_malloc(n));
}

void *calloc(size_t n, size_t size)
{
    return took(__libc_calloc(n, size));
}

void *realloc(void *p, size_t n)
{
    size_t was = p ? malloc_usable_size(p) : 0;
    void *q = __libc_realloc(p, n);
    if (q || !n)
        atomic_fetch_sub(&held, was);
    return took(q);
}

void *aligned_alloc(size_t align, size_t n)
{
    return took(__libc_memalign(align, n));
}

void *memalign(size_t align, size_t n)
{
    return took(__libc_memalign(align, n));
}

int posix_memalign(void **out, size_t align, size_t n)
{
    void *p = took(__libc_memalign(align, n));
    if (p)
        *out = p;
    return p ? 0 : ENOMEM;
}

void free(void *p)
{
    gives(p);
    __libc_free(p);
}
#endif

/* ---- one input ------------------------------------------------------------------------------- */

static struct {
    const uint8_t *data;
    size_t size;
    const char *from; /* the file that it is, or comes from */
    const char *how;
    unsigned long long runs;
    double worst; /* peak over limit */
} now;

/* Only what a signal handler may call. */
static void on_death(int sig)
{
    static const char slow[] = "replay: an input took more than 10 s\n",
                      died[] = "replay: an input ended the process\n",
                      kept[] = "replay: it is kept as " FAILED "; it comes from ";
    ssize_t ignored =
        sig == SIGPROF ? write(2, slow, sizeof(slow) - 1) : write(2, died, sizeof(died) - 1);
    FILE *f = fopen(FAILED, "wb");
    if (f) {
        fwrite(now.data, 1, now.size, f);
        fclose(f);
    }
    ignored += write(2, kept, sizeof(kept) - 1);
    ignored += write(2, now.from, strlen(now.from));
    ignored += write(2, "\n", 1);
    (void)ignored;
    _exit(1);
}

static void run(const uint8_t *data, size_t size, const char *from)
{
    now.data = data;
    now.size = size;
    now.from = from;
    now.runs++;
    setitimer(ITIMER_PROF, &(struct itimerval){.it_value = {.tv_sec = SECONDS_EACH}}, NULL);
    size_t before = atomic_load(&held);
    atomic_store(&peak, before);
    LLVMFuzzerTestOneInput(data, size);
    setitimer(ITIMER_PROF, &(struct itimerval){0}, NULL);
#ifdef COUNTED
    size_t limit = fuzz_limits.base + fuzz_limits.per_byte * size;
    double used = (double)(atomic_load(&peak) - before) / (double)limit;
    now.worst = used > now.worst ? used : now.worst;
    if (used > 1) {
        fprintf(stderr, "replay: %zu bytes of memory for an input of %zu, at most %zu expected\n",
                atomic_load(&peak) - before, size, limit);
        abort();
    }
#endif
}

/* ---- mutations ------------------------------------------------------------------------------- */

typedef struct Sample {
    char *path;
    VitroBuf bytes;
} Sample;

static Sample *samples;
static size_t sample_count;

static void put_number(uint8_t *p, size_t left, VitroRng *rng)
{
    static const uint64_t odd[] = {0,          1,          2,          0x7f,       0x80,
                                   0xff,       0x7fff,     0xffff,     0x10000,    0x7fffffff,
                                   0x80000000, 0xffffffff, 1ull << 32, 1ull << 40, INT64_MAX,
                                   1ull << 63, UINT64_MAX};
    size_t width = (size_t)1 << vitro_rng_below(rng, 4);
    uint64_t v = odd[vitro_rng_below(rng, sizeof(odd) / sizeof(odd[0]))];
    bool big = vitro_rng_below(rng, 2);
    for (size_t i = 0; i < width && i < left; i++)
        p[i] = (uint8_t)(v >> 8 * (big ? width - 1 - i : i));
}

/* Numbers in texts are lengths, too. */
static void put_digits(uint8_t *p, size_t left, VitroRng *rng)
{
    for (size_t i = 0; i < left && p[i] >= '0' && p[i] <= '9'; i++)
        p[i] = (uint8_t)('0' + vitro_rng_below(rng, 10));
}

static uint32_t place_in(const VitroBuf *b, VitroRng *rng)
{
    return b->len ? vitro_rng_below(rng, (uint32_t)b->len) : 0;
}

static void append(VitroBuf *b, const void *data, size_t size)
{
    if (b->len + size <= MAX_INPUT)
        FUZZ_CHECK(!vitro_buf_append(b, data, size));
}

/* The beginning of b, and the end of another sample. */
static void splice(VitroBuf *b, VitroRng *rng)
{
    const VitroBuf *other = &samples[vitro_rng_below(rng, (uint32_t)sample_count)].bytes;
    size_t from = place_in(other, rng);
    b->len = place_in(b, rng);
    append(b, other->data + from, other->len - from);
}

static void move_piece(VitroBuf *b, VitroRng *rng, bool remove)
{
    size_t at = place_in(b, rng), n = 1 + vitro_rng_below(rng, 64);
    n = n < b->len - at ? n : b->len - at;
    if (remove) {
        memmove(b->data + at, b->data + at + n, b->len - at - n);
        b->len -= n;
    } else {
        uint8_t piece[64], *grown;
        memcpy(piece, b->data + at, n);
        if (b->len + n > MAX_INPUT || vitro_buf_extend(b, n, &grown))
            return;
        memmove(b->data + at + n, b->data + at, b->len - n - at);
        memcpy(b->data + at, piece, n);
    }
}

static void mutate(VitroBuf *b, const Sample *from, uint64_t seed, uint32_t number, uint32_t round)
{
    VitroRng rng = vitro_rng(seed, VITRO_RNG_SHUFFLE, number, round);
    b->len = 0;
    append(b, from->bytes.data, from->bytes.len);
    for (uint32_t n = 1 + vitro_rng_below(&rng, 4); n > 0 && b->len; n--) {
        /* Headers are where lengths are: half of all edits go to the first and last bytes. */
        size_t at = place_in(b, &rng), edge = b->len < 96 ? b->len : 96;
        uint32_t where = vitro_rng_below(&rng, 4);
        if (where == 0)
            at = vitro_rng_below(&rng, (uint32_t)edge);
        else if (where == 1)
            at = b->len - 1 - vitro_rng_below(&rng, (uint32_t)edge);
        switch (vitro_rng_below(&rng, 9)) {
        case 0:
        case 1:
            b->data[at] ^= (uint8_t)(1 << vitro_rng_below(&rng, 8));
            break;
        case 2:
            b->data[at] = (uint8_t)vitro_rng_u32(&rng);
            break;
        case 3:
            put_number(b->data + at, b->len - at, &rng);
            break;
        case 4:
            put_digits(b->data + at, b->len - at, &rng);
            break;
        case 5:
            b->len = at;
            break;
        case 6:
            splice(b, &rng);
            break;
        default:
            move_piece(b, &rng, vitro_rng_below(&rng, 2));
        }
    }
}

static void run_mutations(uint64_t seed, long rounds, double seconds)
{
    VitroBuf b;
    vitro_buf_init(&b, MAX_INPUT + 64);
    time_t end = time(NULL) + (time_t)seconds;
    for (uint32_t round = 0; round < (uint32_t)rounds; round++) {
        for (uint32_t i = 0; i < sample_count; i++) {
            mutate(&b, &samples[i], seed, i, round);
            run(b.data ? b.data : (const uint8_t *)"", b.len, samples[i].path);
        }
        if (seconds > 0 && time(NULL) >= end)
            break;
    }
    vitro_buf_deinit(&b);
}

/* ---- each byte changed ----------------------------------------------------------------------- */

static void run_flips(const Sample *s)
{
    size_t refused = 0;
    run(s->bytes.data, s->bytes.len, s->path);
    uint64_t good = fuzz_digest;
    if (!good)
        return;
    for (size_t i = 0; i < s->bytes.len; i++) {
        s->bytes.data[i] ^= 0x11;
        run(s->bytes.data, s->bytes.len, s->path);
        if (fuzz_digest && !fuzz_damaged && fuzz_digest != good) {
            fprintf(stderr, "replay: byte %zu changed what is read, unseen\n", i);
            abort();
        }
        refused += !fuzz_digest || fuzz_damaged;
        s->bytes.data[i] ^= 0x11;
    }
    if (refused < s->bytes.len / 4) {
        fprintf(stderr, "replay: %s: only %zu of %zu changes refused\n", s->path, refused,
                s->bytes.len);
        abort();
    }
}

/* ---- files ----------------------------------------------------------------------------------- */

static void add_file(const char *path)
{
    samples = realloc(samples, (sample_count + 1) * sizeof(*samples));
    Sample *s = samples + sample_count;
    *s = (Sample){.path = strdup(path)};
    vitro_buf_init(&s->bytes, MAX_INPUT);
    if (!samples || !s->path || vitro_fs_read(&s->bytes, path)) {
        fprintf(stderr, "replay: %s\n", vitro_last_error());
        exit(1);
    }
    sample_count++;
}

static void add(const char *path)
{
    VitroNameList names;
    if (!vitro_fs_is_dir(path)) {
        add_file(path);
        return;
    }
    if (vitro_fs_list(&names, path)) {
        fprintf(stderr, "replay: %s\n", vitro_last_error());
        exit(1);
    }
    for (size_t i = 0; i < names.count; i++) {
        char *file = vitro_path_join(path, names.names[i]);
        if (file && vitro_fs_is_file(file))
            add_file(file);
        free(file);
    }
    vitro_list_free(&names);
}

int main(int argc, char **argv)
{
    bool flips = false;
    long rounds = 0;
    double seconds = 0;
    uint64_t seed = 1;
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--flips") == 0)
            flips = true;
        else if (strcmp(argv[i], "--mutate") == 0 && i + 1 < argc)
            rounds = strtol(argv[++i], NULL, 10);
        else if (strcmp(argv[i], "--seed") == 0 && i + 1 < argc)
            seed = strtoull(argv[++i], NULL, 10);
        else if (strcmp(argv[i], "--seconds") == 0 && i + 1 < argc)
            seconds = strtod(argv[++i], NULL);
        else
            add(argv[i]);
    }
    if (!sample_count) {
        fprintf(stderr,
                "usage: %s [--flips] [--mutate N] [--seed S] [--seconds S] FILE|FOLDER...\n",
                argv[0]);
        return 2;
    }
    signal(SIGPROF, on_death);
    signal(SIGABRT, on_death);
#ifndef SANITIZED
    signal(SIGSEGV, on_death);
#endif
    for (size_t i = 0; i < sample_count; i++) {
        const VitroBuf *b = &samples[i].bytes;
        run(b->data ? b->data : (const uint8_t *)"", b->len, samples[i].path);
        if (flips)
            run_flips(&samples[i]);
    }
    run_mutations(seed, rounds, seconds);
    printf("replay: %zu files, %llu inputs, at most %.0f %% of the memory allowed\n", sample_count,
           now.runs, 100 * now.worst);
    for (size_t i = 0; i < sample_count; i++) {
        vitro_buf_deinit(&samples[i].bytes);
        free(samples[i].path);
    }
    free(samples);
    return 0;
}
