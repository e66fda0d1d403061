/* SPDX-License-Identifier: Apache-2.0 */
/* Errors, notes, memory and time for the commands. Knows no option and no command. */
#include "cli.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define LINE_MAX_BYTES 8192

static bool line_is_open;

void cli_line_open(bool open)
{
    line_is_open = open;
}

/* One event, one line: the library lists several cases under each other. */
static void flatten(char *s)
{
    char *to = s;
    for (const char *from = s; *from; from++) {
        unsigned char c = (unsigned char)*from;
        bool blank = c < 0x20 || c == 0x7f;
        if (blank && (to == s || to[-1] == ' '))
            continue;
        *to++ = blank ? ' ' : (char)c;
    }
    while (to > s && to[-1] == ' ')
        to--;
    *to = 0;
}

static void print_line(const char *prefix, const char *fmt, va_list ap)
{
    char text[LINE_MAX_BYTES];
    vsnprintf(text, sizeof(text), fmt, ap);
    flatten(text);
    fflush(stdout);
    if (line_is_open)
        fputc('\n', stderr);
    line_is_open = false;
    fprintf(stderr, "%s%s\n", prefix, text);
}

int cli_fail(const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    print_line("vitro: error: ", fmt, ap);
    va_end(ap);
    return CLI_FAILED;
}

int cli_usage(const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    print_line("vitro: error: ", fmt, ap);
    va_end(ap);
    return CLI_USAGE;
}

int cli_fail_lib(void)
{
    return cli_fail("%s", vitro_last_error());
}

void cli_note(const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    print_line("", fmt, ap);
    va_end(ap);
}

static void *or_die(void *p, size_t bytes)
{
    if (p)
        return p;
    cli_fail("out of memory: %zu bytes could not be had", bytes);
    exit(CLI_FAILED);
}

void *cli_alloc(size_t count, size_t size)
{
    size_t bytes = size && count > SIZE_MAX / size ? SIZE_MAX : count * size;
    return or_die(calloc(count ? count : 1, size ? size : 1), bytes);
}

char *cli_strdup(const char *s)
{
    size_t bytes = strlen(s) + 1;
    return memcpy(or_die(malloc(bytes), bytes), s, bytes);
}

char *cli_format(const char *fmt, ...)
{
    va_list ap, again;
    va_start(ap, fmt);
    va_copy(again, ap);
    int length = vsnprintf(NULL, 0, fmt, ap);
    va_end(ap);
    size_t bytes = length < 0 ? 1 : (size_t)length + 1;
    char *text = cli_alloc(bytes, 1);
    vsnprintf(text, bytes, fmt, again);
    va_end(again);
    return text;
}

const char *cli_clean(char *out, size_t size, const char *s)
{
    size_t n = 0;
    for (; s[n] && n + 1 < size; n++)
        out[n] = (unsigned char)s[n] < 0x20 || s[n] == 0x7f ? '?' : s[n];
    out[n] = 0;
    return out;
}

int cli_flush(void)
{
    static bool told;
    errno = 0;
    if (!fflush(stdout) && !ferror(stdout))
        return CLI_OK;
    if (!told)
        cli_fail("standard output: %s", errno ? strerror(errno) : "cannot be written");
    told = true;
    return CLI_FAILED;
}

double cli_seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

int cli_default_workers(int64_t batch_size)
{
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    int64_t workers = batch_size > 1 ? batch_size : 0;
    workers = workers < cores ? workers : cores;
    return (int)(workers < 0 ? 0 : workers > 8 ? 8 : workers);
}
