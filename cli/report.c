/* SPDX-License-Identifier: Apache-2.0 */
/* JSON pieces, Python's number format, the progress bar. */
#include "report.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

/* ---- JSON --------------------------------------------------------------------------------- */

/* Bytes of the UTF-8 sequence at `s`, or 0 where there is none (RFC 3629: shortest form, no
 * surrogates, at most U+10FFFF). */
static int utf8_length(const unsigned char *s)
{
    int n = s[0] < 0x80   ? 1
            : s[0] < 0xC2 ? 0
            : s[0] < 0xE0 ? 2
            : s[0] < 0xF0 ? 3
            : s[0] < 0xF5 ? 4
                          : 0;
    for (int i = 1; i < n; i++)
        if ((s[i] & 0xC0) != 0x80)
            return 0;
    bool too_long = (s[0] == 0xE0 && s[1] < 0xA0) || (s[0] == 0xF0 && s[1] < 0x90);
    bool surrogate = s[0] == 0xED && s[1] >= 0xA0;
    bool too_large = s[0] == 0xF4 && s[1] >= 0x90;
    return too_long || surrogate || too_large ? 0 : n;
}

void put_json_string(FILE *out, const char *s)
{
    if (!s) {
        fputs("null", out);
        return;
    }
    fputc('"', out);
    for (const unsigned char *c = (const unsigned char *)s; *c;) {
        int n = utf8_length(c);
        if (*c == '"' || *c == '\\')
            fprintf(out, "\\%c", *c);
        else if (*c < 0x20 || *c == 0x7f)
            fprintf(out, "\\u%04x", *c);
        else if (n)
            fwrite(c, 1, (size_t)n, out);
        else
            fputs("\\ufffd", out);
        c += n ? n : 1;
    }
    fputc('"', out);
}

/* 1 is written 1.0: readers that tell the kinds apart see a real number every time. */
static void put_real(FILE *out, const char *text)
{
    fputs(text, out);
    if (!strpbrk(text, ".enN"))
        fputs(".0", out);
}

void put_json_number(FILE *out, double v)
{
    char text[40];
    if (!isfinite(v)) {
        fputs("null", out);
        return;
    }
    for (int digits = 9; digits <= 17; digits++) {
        snprintf(text, sizeof(text), "%.*g", digits, v);
        if (strtod(text, NULL) == v)
            break;
    }
    put_real(out, text);
}

void put_json_float(FILE *out, float v)
{
    char text[40];
    snprintf(text, sizeof(text), "%.9g", (double)v);
    put_real(out, isfinite(v) ? text : "null");
}

void put_json_floats(FILE *out, const float *v, int64_t n)
{
    fputc('[', out);
    for (int64_t i = 0; i < n; i++) {
        fputs(i ? ", " : "", out);
        put_json_float(out, v[i]);
    }
    fputc(']', out);
}

/* ---- numbers as the original prints them ---------------------------------------------------- */

const char *format_python_3(char out[PYTHON_FORMAT_BYTES], double v)
{
    if (!isfinite(v)) {
        snprintf(out, PYTHON_FORMAT_BYTES, "%s", isnan(v) ? "nan" : v < 0 ? "-inf" : "inf");
        return out;
    }
    /* Rounded to three digits first: "-d.dde+xx". */
    char digits[PYTHON_FORMAT_BYTES];
    snprintf(digits, sizeof(digits), "%.2e", v);
    char *e = strchr(digits, 'e');
    int exponent = (int)strtol(e + 1, NULL, 10);
    if (exponent < -4 || exponent >= 2) {
        char *end = e;
        while (end[-1] == '0')
            end--;
        end -= end[-1] == '.';
        snprintf(out, PYTHON_FORMAT_BYTES, "%.*s%s", (int)(end - digits), digits, e);
        return out;
    }
    int decimals = 2 - exponent;
    size_t n = (size_t)snprintf(out, PYTHON_FORMAT_BYTES, "%.*f", decimals, v);
    while (out[n - 1] == '0' && out[n - 2] != '.')
        out[--n] = 0;
    return out;
}

const char *format_grouped(char out[GROUPED_BYTES], int64_t v)
{
    char digits[GROUPED_BYTES];
    int n = snprintf(digits, sizeof(digits), "%" PRId64, v), to = 0;
    for (int i = 0; i < n; i++) {
        out[to++] = digits[i];
        int left = n - 1 - i;
        if (left > 0 && left % 3 == 0 && digits[i] != '-')
            out[to++] = ',';
    }
    out[to] = 0;
    return out;
}

/* ---- progress ----------------------------------------------------------------------------- */

#define BAR_WIDTH      10
#define REDRAW_SECONDS 0.1
#define LINE_SECONDS   10
#define LINE_BYTES     320 /* longer than any line */

void progress_begin(Progress *p, int64_t total)
{
    double now = cli_seconds();
    *p = (Progress){.total = total, .began = now, .drawn = now, .terminal = isatty(STDERR_FILENO)};
    if (p->terminal)
        p->drawn = -1;
}

void progress_begin_bytes(Progress *p, int64_t first, int64_t total)
{
    progress_begin(p, total);
    p->first = first;
    p->bytes = true;
}

static const char *format_time(char out[24], double seconds)
{
    int64_t s = seconds < 0 || seconds > 1e9 ? 0 : (int64_t)seconds;
    if (s >= 3600)
        snprintf(out, 24, "%" PRId64 ":%02d:%02d", s / 3600, (int)(s / 60 % 60), (int)(s % 60));
    else
        snprintf(out, 24, "%02d:%02d", (int)(s / 60), (int)(s % 60));
    return out;
}

const char *format_memory(char out[MEMORY_BYTES], int64_t bytes)
{
    static const char *const unit[] = {"KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
    double n = (double)bytes / 1024;
    int u = 0;
    if (bytes < 1024) {
        snprintf(out, MEMORY_BYTES, "%" PRId64 " B", bytes);
        return out;
    }
    for (; n >= 1024 && u < 5; u++)
        n /= 1024;
    snprintf(out, MEMORY_BYTES, "%.*f %s", u < 2 ? 1 : 2, n, unit[u]);
    return out;
}

/* Three digits and a decimal prefix: 999, 1.23k, 45.6M, 789G. */
static const char *format_bytes(char out[24], double bytes)
{
    static const char *const prefix[] = {"", "k", "M", "G", "T"};
    int p = 0;
    for (; bytes >= 999.5 && p < 4; p++)
        bytes /= 1000;
    snprintf(out, 24, "%.*f%s",
             p == 0 || bytes >= 99.95 ? 0
             : bytes >= 9.995         ? 1
                                      : 2,
             bytes, prefix[p]);
    return out;
}

/* "12/39" or "12.3M/169M" */
static const char *format_counts(char out[64], const Progress *p, int64_t done)
{
    char a[24], b[24];
    if (p->bytes)
        snprintf(out, 64, "%s/%s", format_bytes(a, (double)done),
                 p->total > 0 ? format_bytes(b, (double)p->total) : "?");
    else
        snprintf(out, 64, "%" PRId64 "/%" PRId64, done, p->total);
    return out;
}

static const char *format_speed(char out[32], const Progress *p, double rate)
{
    char a[24];
    if (p->bytes)
        snprintf(out, 32, "%sB/s", format_bytes(a, rate));
    else if (rate >= 1 || rate <= 0)
        snprintf(out, 32, "%.2fit/s", rate);
    else
        snprintf(out, 32, "%.2fs/it", 1 / rate);
    return out;
}

/* Characters that a line of the terminal holds without wrapping; a wrapped line could not be drawn
 * over. */
static int terminal_width(void)
{
    struct winsize size;
    if (ioctl(STDERR_FILENO, TIOCGWINSZ, &size) || size.ws_col == 0)
        return LINE_BYTES;
    return size.ws_col - 1;
}

/* The bar is what gives way where the line is too long, as in tqdm. */
static void draw(Progress *p, int64_t done, const char *text, double now)
{
    double elapsed = now - p->began;
    double rate = elapsed > 0 ? (double)(done - p->first) / elapsed : 0;
    double share = p->total > 0 ? (double)done / (double)p->total : 0;
    char tail[192], line[LINE_BYTES + 256], bar[BAR_WIDTH + 1];
    char a[24], b[24] = "?", counts[64], speed[32];
    if (p->total > 0 && rate > 0)
        format_time(b, (double)(p->total - done) / rate);
    snprintf(tail, sizeof(tail), "%s [%s<%s, %s]", format_counts(counts, p, done),
             format_time(a, elapsed), b, format_speed(speed, p, rate));

    int width = p->terminal ? terminal_width() : LINE_BYTES;
    int spare = width - (int)(strlen(text) + strlen(": 100%|| ") + strlen(tail));
    int cells = spare < 0 ? 0 : spare < BAR_WIDTH ? spare : BAR_WIDTH;
    int filled = (int)(share * cells);
    for (int i = 0; i < cells; i++)
        bar[i] = i < filled ? '#' : ' ';
    bar[cells] = 0;
    snprintf(line, sizeof(line), "%s: %3.0f%%|%s| %s", text, 100 * share, bar, tail);
    fprintf(stderr, p->terminal ? "\r%.*s\033[K" : "%.*s\n", width, line);
    fflush(stderr);
    cli_line_open(p->terminal);
    p->drawn = now;
}

void progress_update(Progress *p, int64_t done, const char *text)
{
    double now = cli_seconds();
    if (now - p->drawn >= (p->terminal ? REDRAW_SECONDS : LINE_SECONDS))
        draw(p, done, text, now);
}

void progress_end(Progress *p, int64_t done, const char *text)
{
    draw(p, done, text, cli_seconds());
    if (p->terminal)
        fputc('\n', stderr);
    cli_line_open(false);
}
