/* SPDX-License-Identifier: Apache-2.0 */
/* One option's value: text to struct and back, strictly. Knows nothing of command lines. */
#include "args_int.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define ITEM_MAX_BYTES 64 /* of one number or word of a list */

static bool in_range(const ArgOption *o, double v)
{
    bool low = o->flags & ARG_ABOVE_MIN ? v > o->min : v >= o->min;
    bool high = o->flags & ARG_BELOW_MAX ? v < o->max : v <= o->max;
    return low && high; /* also false for NaN */
}

/* Decimal digits with a sign: no blanks, no hexadecimal, nothing behind. */
static bool read_int(const ArgOption *o, const char *text, int64_t *out)
{
    const char *digits = text + (*text == '-' || *text == '+');
    if (!*digits || strspn(digits, "0123456789") != strlen(digits))
        return false;
    errno = 0;
    long long v = strtoll(text, NULL, 10);
    if (errno || !in_range(o, (double)v))
        return false;
    *out = v;
    return true;
}

static bool read_real(const ArgOption *o, const char *text, double *out)
{
    if (!*text || strspn(text, "0123456789+-.eE") != strlen(text))
        return false; /* "nan", "inf", hexadecimal, blanks */
    char *end;
    errno = 0;
    double v = strtod(text, &end);
    if (*end || end == text || (errno == ERANGE && (v == 0 || isinf(v))) || !in_range(o, v))
        return false;
    *out = v;
    return true;
}

static bool read_bool(const char *text, bool *out)
{
    static const char *const words[] = {"false", "true", "0", "1", "no", "yes"};
    for (int i = 0; i < ARG_COUNT(words); i++)
        if (strcasecmp(text, words[i]) == 0) {
            *out = i % 2;
            return true;
        }
    return false;
}

/* '-' and '_' mean the same in choices too: presets are spelled with either. */
static bool same_word(const char *a, const char *b)
{
    for (; *a && *b; a++, b++)
        if (*a != *b && !((*a == '-' || *a == '_') && (*b == '-' || *b == '_')))
            return false;
    return *a == *b;
}

static bool read_choice(const ArgOption *o, const char *text, int *out)
{
    for (int i = 0; o->choices[i]; i++)
        if (same_word(text, o->choices[i])) {
            *out = i;
            return true;
        }
    return false;
}

static bool read_item(const ArgOption *o, const char *item, int i, ArgInts *ints, ArgReals *reals,
                      ArgChoices *choices)
{
    if (o->type == ARG_INTS)
        return read_int(o, item, &ints->value[i]);
    if (o->type == ARG_REALS)
        return read_real(o, item, &reals->value[i]);
    return read_choice(o, item, &choices->value[i]);
}

static bool set_list(const ArgOption *o, void *at, const char *text)
{
    ArgInts ints = {0};
    ArgReals reals = {0};
    ArgChoices choices = {0};
    int count = 0;
    for (bool more = true; more; count++) {
        size_t length = strcspn(text, ",");
        char item[ITEM_MAX_BYTES];
        if (count == ARG_LIST_MAX || length >= sizeof(item))
            return false;
        memcpy(item, text, length);
        item[length] = 0;
        if (!read_item(o, item, count, &ints, &reals, &choices))
            return false;
        more = text[length] == ',';
        text += length + 1;
    }
    ints.count = reals.count = choices.count = count;
    if (o->type == ARG_INTS)
        *(ArgInts *)at = ints;
    else if (o->type == ARG_REALS)
        *(ArgReals *)at = reals;
    else
        *(ArgChoices *)at = choices;
    return true;
}

/* "384", or "384x512". */
static bool read_size(const ArgOption *o, const char *text, ArgSize *out)
{
    char first[ITEM_MAX_BYTES];
    size_t length = strcspn(text, "x");
    int64_t height, width;
    if (length >= sizeof(first))
        return false;
    memcpy(first, text, length);
    first[length] = 0;
    if (!read_int(o, first, &height) ||
        !read_int(o, text[length] ? text + length + 1 : first, &width))
        return false;
    *out = (ArgSize){(int)height, (int)width};
    return true;
}

bool args_value_set(const ArgOption *o, void *base, const char *text)
{
    void *at = (char *)base + o->at;
    int64_t whole;
    switch (o->type) {
    case ARG_FLAG:
    case ARG_BOOL:
        return read_bool(text, at);
    case ARG_INT:
        if (!read_int(o, text, &whole) || whole < INT32_MIN || whole > INT32_MAX)
            return false;
        *(int *)at = (int)whole;
        return true;
    case ARG_INT64:
        return read_int(o, text, at);
    case ARG_REAL:
        return read_real(o, text, at);
    case ARG_SIZE:
        return read_size(o, text, at);
    case ARG_TEXT:
        if (!*text && !(o->flags & ARG_MAY_BE_EMPTY))
            return false;
        *(const char **)at = text;
        return true;
    case ARG_CHOICE:
        return read_choice(o, text, at);
    case ARG_INTS:
    case ARG_REALS:
    case ARG_CHOICES:
        return set_list(o, at, text);
    }
    return false;
}

void args_value_range(const ArgOption *o, char *out, size_t size)
{
    bool whole =
        o->type == ARG_INT || o->type == ARG_INT64 || o->type == ARG_INTS || o->type == ARG_SIZE;
    bool real = o->type == ARG_REAL || o->type == ARG_REALS;
    bool low = o->min > (whole ? -0x1p31 : -INFINITY);
    bool high = o->max < (whole ? 0x1p31 - 1 : INFINITY);
    const char *above = o->flags & ARG_ABOVE_MIN ? "above" : "at least";
    const char *below = o->flags & ARG_BELOW_MAX ? "below" : "at most";
    out[0] = 0;
    if (!whole && !real)
        return;
    if (low && high && !o->flags)
        snprintf(out, size, "%.10g to %.10g", o->min, o->max);
    else if (low && high)
        snprintf(out, size, "%s %.10g and %s %.10g", above, o->min, below, o->max);
    else if (low)
        snprintf(out, size, "%s %.10g", above, o->min);
    else if (high)
        snprintf(out, size, "%s %.10g", below, o->max);
}

static void join_choices(const ArgOption *o, char *out, size_t size)
{
    size_t n = 0;
    for (int i = 0; o->choices[i] && n < size; i++)
        n += (size_t)snprintf(out + n, size - n, "%s%s", i ? ", " : "", o->choices[i]);
}

void args_value_expected(const ArgOption *o, char *out, size_t size)
{
    static const char *const kinds[] = {
        [ARG_FLAG] = "true or false",
        [ARG_BOOL] = "true or false",
        [ARG_INT] = "a whole number",
        [ARG_INT64] = "a whole number",
        [ARG_REAL] = "a number",
        [ARG_SIZE] = "a whole number, or HEIGHTxWIDTH,",
        [ARG_TEXT] = "",
        [ARG_CHOICE] = "one of ",
        [ARG_INTS] = "up to 16 whole numbers with commas between them",
        [ARG_CHOICES] = "up to 16, with commas between them, of ",
        [ARG_REALS] = "up to 16 numbers with commas between them",
    };
    char more[512] = "", range[128];
    args_value_range(o, range, sizeof(range));
    if (o->type == ARG_CHOICE || o->type == ARG_CHOICES)
        join_choices(o, more, sizeof(more));
    else if (o->type == ARG_TEXT)
        snprintf(more, sizeof(more), "%s", o->metavar ? o->metavar : "a text");
    else if (range[0])
        snprintf(more, sizeof(more), "%s%s%s",
                 o->type == ARG_INTS || o->type == ARG_REALS ? "," : "",
                 strncmp(range, "a", 1) == 0 ? " " : " from ", range);
    snprintf(out, size, "%s%s", kinds[o->type], more);
}

/* With no more digits than it takes to read the same number back. */
static void print_real(double v, int digits, FILE *out)
{
    char text[32];
    for (int n = ARG_SHOWN_DIGITS; n <= digits; n++) {
        snprintf(text, sizeof(text), "%.*g", n, v);
        if (strtod(text, NULL) == v)
            break;
    }
    fputs(text, out);
}

static void print_list(const ArgOption *o, const void *at, int digits, FILE *out)
{
    const ArgInts *ints = at;
    const ArgReals *reals = at;
    const ArgChoices *choices = at;
    int count = o->type == ARG_INTS    ? ints->count
                : o->type == ARG_REALS ? reals->count
                                       : choices->count;
    for (int i = 0; i < count; i++) {
        fputs(i ? "," : "", out);
        if (o->type == ARG_INTS)
            fprintf(out, "%" PRId64, ints->value[i]);
        else if (o->type == ARG_REALS)
            print_real(reals->value[i], digits, out);
        else
            fputs(o->choices[choices->value[i]], out);
    }
}

void args_value_print(const ArgOption *o, const void *base, int digits, FILE *out)
{
    const void *at = (const char *)base + o->at;
    char text[512];
    switch (o->type) {
    case ARG_FLAG:
    case ARG_BOOL:
        fputs(*(const bool *)at ? "true" : "false", out);
        break;
    case ARG_INT:
        fprintf(out, "%d", *(const int *)at);
        break;
    case ARG_INT64:
        fprintf(out, "%" PRId64, *(const int64_t *)at);
        break;
    case ARG_REAL:
        print_real(*(const double *)at, digits, out);
        break;
    case ARG_SIZE:
        fprintf(out, "%d", ((const ArgSize *)at)->height);
        if (((const ArgSize *)at)->width != ((const ArgSize *)at)->height)
            fprintf(out, "x%d", ((const ArgSize *)at)->width);
        break;
    case ARG_TEXT:
        if (*(const char *const *)at)
            fprintf(out, "'%s'", cli_clean(text, sizeof(text), *(const char *const *)at));
        else
            fputs("none", out);
        break;
    case ARG_CHOICE:
        fputs(o->choices[*(const int *)at], out);
        break;
    case ARG_INTS:
    case ARG_REALS:
    case ARG_CHOICES:
        print_list(o, at, digits, out);
        break;
    }
}
