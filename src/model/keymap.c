/* SPDX-License-Identifier: Apache-2.0 */
/* The parser of key maps, and their use on a file. keymap.h has the language. */
#include "model/keymap.h"

#include "base/alloc.h"
#include "base/buf.h"
#include "base/fs.h"
#include "ckpt/format.h"
#include "tensor/tensor.h"

#include <stdio.h>
#include <string.h>

#define MAX_TEXT   ((size_t)1 << 20) /* bytes of a key map */
#define MAX_RULES  4096
#define MAX_TERMS  64 /* sources of one line: 3 x the heads of one that stores them one by one */
#define MAX_BLOCKS 65536
#define MAX_NAME   256 /* bytes, with the NUL */

typedef struct Term {
    char pattern[MAX_NAME];
    bool has_star;
    int axis_count;
    int axis[VITRO_CKPT_MAX_RANK];
} Term;

typedef struct Rule {
    int line;
    bool may_miss, drops;
    Term *term; /* [count]; owned */
    int count;
    Term target; /* empty where the rule drops */
} Rule;

struct VitroKeyMap {
    Rule *rule;
    int count, capacity;
};

/* ---- parsing --------------------------------------------------------------------------------- */

typedef struct Line {
    const char *at, *end;
    int number;
} Line;

#define FAIL(number, ...) fail_line(number, vitro_fail(VITRO_E_FORMAT, __VA_ARGS__))

static VitroStatus fail_line(int number, VitroStatus st)
{
    return vitro_fail_prefix(st, "line %d", number);
}

static void skip_blanks(Line *l)
{
    while (l->at < l->end && (*l->at == ' ' || *l->at == '\t' || *l->at == '\r'))
        l->at++;
}

static bool take(Line *l, char c)
{
    skip_blanks(l);
    if (l->at == l->end || *l->at != c)
        return false;
    l->at++;
    return true;
}

static bool ends_name(char c)
{
    return (unsigned char)c <= ' ' || c == 0x7f || strchr("=+(),?#", c) != NULL;
}

/* (2,0,1): a permutation. */
static VitroStatus take_axes(Term *t, Line *l)
{
    unsigned seen = 0;
    if (!take(l, '('))
        return VITRO_OK;
    do {
        skip_blanks(l);
        if (l->at == l->end || *l->at < '0' || *l->at >= '0' + VITRO_CKPT_MAX_RANK ||
            t->axis_count == VITRO_CKPT_MAX_RANK)
            return FAIL(l->number, "axes of \"%s\": expected numbers from 0 to %d", t->pattern,
                        VITRO_CKPT_MAX_RANK - 1);
        seen |= 1u << (*l->at - '0');
        t->axis[t->axis_count++] = *l->at++ - '0';
    } while (take(l, ','));
    if (!take(l, ')') || seen != (1u << t->axis_count) - 1)
        return FAIL(l->number, "axes of \"%s\": expected each of 0 to %d once, in brackets",
                    t->pattern, t->axis_count - 1);
    return VITRO_OK;
}

static VitroStatus take_term(Term *t, Line *l, const char *what)
{
    *t = (Term){0};
    skip_blanks(l);
    size_t n = 0;
    while (l->at + n < l->end && !ends_name(l->at[n]))
        n++;
    if (n == 0)
        return FAIL(l->number, "found %s, expected %s",
                    l->at == l->end ? "the end of the line" : "no name", what);
    if (n >= MAX_NAME || !vitro_ckpt_is_utf8(l->at, n))
        return FAIL(l->number, "%s is no UTF-8 text of at most %d bytes", what, MAX_NAME - 1);
    memcpy(t->pattern, l->at, n);
    t->pattern[n] = 0;
    const char *star = strchr(t->pattern, '*');
    t->has_star = star != NULL;
    if (star && strchr(star + 1, '*'))
        return FAIL(l->number, "\"%s\" has two '*', one is the most", t->pattern);
    l->at += n;
    return take_axes(t, l);
}

/* old + old + ... = new */
static VitroStatus take_mapping(Rule *r, Line *l)
{
    do {
        if (r->count == MAX_TERMS)
            return FAIL(l->number, "more than %d names are joined", MAX_TERMS);
        Term *more = vitro_realloc(r->term, (size_t)r->count + 1, sizeof(*more));
        if (!more)
            return VITRO_NOMEM;
        r->term = more;
        r->count++;
        VITRO_TRY(take_term(&more[r->count - 1], l, "the name of a tensor in the file"));
    } while (take(l, '+'));
    if (!take(l, '='))
        return FAIL(l->number, "expected '=' and the new name behind \"%s\"",
                    r->term[r->count - 1].pattern);
    VITRO_TRY(take_term(&r->target, l, "the new name"));
    if (r->target.axis_count)
        return FAIL(l->number, "axes belong to names left of the '='");
    for (int i = 0; i < r->count; i++)
        if (r->term[i].has_star != r->target.has_star)
            return FAIL(l->number, "'*' must be in \"%s\" and in \"%s\", or in neither",
                        r->term[i].pattern, r->target.pattern);
    return VITRO_OK;
}

static VitroStatus add_rule(VitroKeyMap *map, Line *l)
{
    if (map->count == MAX_RULES)
        return FAIL(l->number, "more than %d lines with names", MAX_RULES);
    if (map->count == map->capacity) {
        int capacity = map->capacity ? 2 * map->capacity : 32;
        Rule *more = vitro_realloc(map->rule, (size_t)capacity, sizeof(*more));
        if (!more)
            return VITRO_NOMEM;
        map->rule = more;
        map->capacity = capacity;
    }
    Rule *r = &map->rule[map->count++];
    *r = (Rule){.line = l->number};
    r->drops = take(l, '-');
    r->may_miss = r->drops || take(l, '?');
    if (r->drops) {
        r->term = vitro_calloc(1, sizeof(*r->term));
        if (!r->term)
            return VITRO_NOMEM;
        r->count = 1;
        VITRO_TRY(take_term(&r->term[0], l, "the name of a tensor to leave out"));
    } else {
        VITRO_TRY(take_mapping(r, l));
    }
    skip_blanks(l);
    if (l->at < l->end)
        return FAIL(l->number, "found '%c' behind the line's last name", *l->at);
    return VITRO_OK;
}

VitroStatus vitro_key_map_parse(VitroKeyMap **out, const char *text, size_t size)
{
    VitroKeyMap *map = vitro_calloc(1, sizeof(*map));
    if (!map)
        return VITRO_NOMEM;
    VitroStatus st = VITRO_OK;
    const char *at = text, *end = text + size;
    for (int number = 1; at < end && st == VITRO_OK; number++) {
        const char *newline = memchr(at, '\n', (size_t)(end - at));
        const char *stop = newline ? newline : end;
        const char *comment = memchr(at, '#', (size_t)(stop - at));
        Line l = {at, comment ? comment : stop, number};
        skip_blanks(&l);
        if (l.at < l.end)
            st = add_rule(map, &l);
        at = newline ? newline + 1 : end;
    }
    if (st == VITRO_OK)
        *out = map;
    else
        vitro_key_map_free(map);
    return st;
}

void vitro_key_map_free(VitroKeyMap *map)
{
    if (!map)
        return;
    for (int i = 0; i < map->count; i++)
        vitro_free(map->rule[i].term);
    vitro_free(map->rule);
    vitro_free(map);
}

/* ---- finding --------------------------------------------------------------------------------- */

#define MAX_FILLED (MAX_NAME + 16)

/* The pattern with block `n` for its '*'. */
static const char *fill(char out[MAX_FILLED], const char *pattern, int n)
{
    const char *star = strchr(pattern, '*');
    if (star)
        snprintf(out, MAX_FILLED, "%.*s%d%s", (int)(star - pattern), pattern, n, star + 1);
    else
        snprintf(out, MAX_FILLED, "%s", pattern);
    return out;
}

static int64_t find(const VitroCheckpoint *ckpt, const Term *t, int n)
{
    char name[MAX_FILLED];
    return vitro_checkpoint_find(ckpt, fill(name, t->pattern, n));
}

bool vitro_key_map_fits(const VitroKeyMap *map, const VitroCheckpoint *ckpt)
{
    for (int i = 0; i < map->count; i++)
        for (int k = 0; k < map->rule[i].count && !map->rule[i].may_miss; k++)
            if (find(ckpt, &map->rule[i].term[k], 0) < 0)
                return false;
    return true;
}

/* ---- shapes ---------------------------------------------------------------------------------- */

typedef struct Shape {
    int rank;
    int64_t dim[VITRO_CKPT_MAX_RANK];
} Shape;

static bool ends_with(const char *s, const char *end)
{
    size_t n = strlen(s), m = strlen(end);
    return n >= m && strcmp(s + n - m, end) == 0;
}

/* Dimensions `from` to `to` - 1 become one. */
static void merge(Shape *s, int from, int to)
{
    int64_t product = 1;
    for (int i = from; i < to; i++)
        product *= s->dim[i];
    s->dim[from] = product;
    for (int i = to; i < s->rank; i++)
        s->dim[from + 1 + i - to] = s->dim[i];
    s->rank -= to - from - 1;
}

/* Other programs store a bias as [1,D], an attention kernel as [D,H,D/H], a class token as [D]: the
 * number of dimensions that parameter `name` has here. The order of elements never changes. */
static void fit_shape(Shape *s, const char *name)
{
    if (strcmp(name, "cls_token") == 0 || strcmp(name, "pos_embed") == 0) {
        while (s->rank > 3 && s->dim[0] == 1)
            merge(s, 0, 2);
        for (; s->rank < 3; s->rank++) {
            memmove(s->dim + 1, s->dim, (size_t)s->rank * sizeof(s->dim[0]));
            s->dim[0] = 1;
        }
    } else if (s->rank > 1 && (ends_with(name, ".bias") || strstr(name, "norm"))) {
        merge(s, 0, s->rank);
    } else if (s->rank > 2 && ends_with(name, ".qkv.weight")) {
        merge(s, 0, s->rank - 1);
    } else if (s->rank > 2 && ends_with(name, ".weight") &&
               strcmp(name, "patch_embed.proj.weight") != 0) {
        merge(s, 1, s->rank);
    }
}

/* ---- renaming -------------------------------------------------------------------------------- */

/* What becomes of one tensor of the file. */
typedef struct Fate {
    int rule, block; /* rule -1: it stays as it is */
    bool leads;      /* it is the rule's first source: the new tensor takes its place */
} Fate;

/* Marks block n's sources of rule r. *found is false where there is none. */
static VitroStatus claim(Fate *fate, bool *found, const VitroKeyMap *map, int r, int n,
                         const VitroCheckpoint *ckpt)
{
    const Rule *rule = &map->rule[r];
    char name[MAX_FILLED];
    *found = find(ckpt, &rule->term[0], n) >= 0;
    for (int k = 0; k < rule->count; k++) {
        int64_t i = find(ckpt, &rule->term[k], n);
        if (!*found && i < 0)
            continue;
        if (i < 0 || !*found)
            return FAIL(rule->line, "no tensor \"%s\" to be joined with",
                        fill(name, rule->term[*found ? k : 0].pattern, n));
        if (fate[i].rule >= 0)
            return FAIL(rule->line, "tensor \"%s\" is used by line %d, too",
                        fill(name, rule->term[k].pattern, n), map->rule[fate[i].rule].line);
        fate[i] = (Fate){r, n, k == 0};
    }
    return VITRO_OK;
}

static VitroStatus claim_all(Fate *fate, const VitroKeyMap *map, const VitroCheckpoint *ckpt)
{
    char name[MAX_FILLED];
    for (int r = 0; r < map->count; r++) {
        const Rule *rule = &map->rule[r];
        bool found = true;
        int n = 0;
        for (; found && n < (rule->term[0].has_star ? MAX_BLOCKS : 1); n++)
            VITRO_TRY(claim(fate, &found, map, r, n, ckpt));
        if (n == 1 && !found && !rule->may_miss)
            return FAIL(rule->line, "the file has no tensor \"%s\"",
                        fill(name, rule->term[0].pattern, 0));
    }
    return VITRO_OK;
}

/* Room for all the new tensors' names and sources. */
typedef struct Renaming {
    VitroCkptMove *move;
    char (*name)[MAX_FILLED];
    VitroCkptSource *source;
    int64_t count, source_count;
} Renaming;

static VitroStatus keep(Renaming *out, const VitroCheckpoint *ckpt, int64_t i)
{
    const VitroTensorInfo *info = vitro_checkpoint_info(ckpt, i);
    VitroCkptMove *m = &out->move[out->count++];
    VitroCkptSource *s = &out->source[out->source_count++];
    *s = (VitroCkptSource){.index = i};
    *m = (VitroCkptMove){.name = info->name, .source = s, .source_count = 1, .rank = info->rank};
    memcpy(m->dim, info->dim, sizeof(m->dim));
    return VITRO_OK;
}

/* Adds tensor `i`, turned, to the shape of those before it. */
static VitroStatus join(Shape *joined, const VitroCheckpoint *ckpt, int64_t i, const Term *t,
                        int line, bool is_first, VitroDtype dtype)
{
    const VitroTensorInfo *info = vitro_checkpoint_info(ckpt, i);
    char text[128], other[128];
    Shape s = {.rank = info->rank};
    for (int d = 0; d < info->rank; d++)
        s.dim[d] = info->dim[t->axis_count ? t->axis[d] : d];
    if (is_first) {
        *joined = s;
        return VITRO_OK;
    }
    bool fits = s.rank == joined->rank && s.rank > 0 && info->dtype == dtype &&
                memcmp(s.dim + 1, joined->dim + 1, (size_t)(s.rank - 1) * sizeof(s.dim[0])) == 0;
    if (!fits || __builtin_add_overflow(joined->dim[0], s.dim[0], &joined->dim[0]))
        return FAIL(line, "tensor \"%s\" of type %s and shape %s cannot be joined to %s %s",
                    info->name, vitro_dtype_name(info->dtype),
                    vitro_tensor_shape_text(text, sizeof(text), s.rank, s.dim),
                    vitro_dtype_name(dtype),
                    vitro_tensor_shape_text(other, sizeof(other), joined->rank, joined->dim));
    return VITRO_OK;
}

static VitroStatus put_together(Renaming *out, const VitroCheckpoint *ckpt, const Rule *rule, int n)
{
    char *name = out->name[out->count];
    VitroCkptMove *m = &out->move[out->count++];
    VitroCkptSource *first = &out->source[out->source_count];
    VitroDtype dtype = VITRO_F32;
    Shape shape = {0};
    for (int k = 0; k < rule->count; k++) {
        const Term *t = &rule->term[k];
        VitroCkptSource *s = &out->source[out->source_count++];
        *s = (VitroCkptSource){.index = find(ckpt, t, n), .axis_count = t->axis_count};
        memcpy(s->axis, t->axis, sizeof(s->axis));
        const VitroTensorInfo *info = vitro_checkpoint_info(ckpt, s->index);
        if (t->axis_count && t->axis_count != info->rank)
            return FAIL(rule->line, "tensor \"%s\" has %d dimensions, %d axes are given",
                        info->name, info->rank, t->axis_count);
        dtype = k == 0 ? info->dtype : dtype;
        VITRO_TRY(join(&shape, ckpt, s->index, t, rule->line, k == 0, dtype));
    }
    int64_t elements;
    VitroStatus st =
        vitro_ckpt_count(&elements, rule->target.pattern, dtype, shape.rank, shape.dim);
    if (st != VITRO_OK)
        return fail_line(rule->line, st);
    fit_shape(&shape, fill(name, rule->target.pattern, n));
    *m = (VitroCkptMove){
        .name = name, .source = first, .source_count = rule->count, .rank = shape.rank};
    memcpy(m->dim, shape.dim, sizeof(m->dim));
    return VITRO_OK;
}

static VitroStatus plan(Renaming *out, const Fate *fate, const VitroKeyMap *map,
                        const VitroCheckpoint *ckpt)
{
    for (int64_t i = 0; i < vitro_checkpoint_count(ckpt); i++) {
        if (fate[i].rule < 0)
            VITRO_TRY(keep(out, ckpt, i));
        else if (fate[i].leads && !map->rule[fate[i].rule].drops)
            VITRO_TRY(put_together(out, ckpt, &map->rule[fate[i].rule], fate[i].block));
    }
    return VITRO_OK;
}

VitroStatus vitro_key_map_rename(const VitroKeyMap *map, VitroCheckpoint *ckpt)
{
    size_t count = (size_t)vitro_checkpoint_count(ckpt);
    VitroStatus st = VITRO_E_NOMEM;
    Fate *fate = vitro_calloc(count, sizeof(*fate));
    Renaming new = {.move = vitro_calloc(count, sizeof(*new.move)),
                    .name = vitro_calloc(count, sizeof(*new.name)),
                    .source = vitro_calloc(count, sizeof(*new.source))};
    if (!fate || !new.move || !new.name || !new.source)
        goto done;
    for (size_t i = 0; i < count; i++) {
        fate[i].rule = -1;
        if (ckpt->tensor[i].part_count) {
            st = vitro_fail(VITRO_E_ARG, "a key map has been used on this file before");
            goto done;
        }
    }
    VITRO_GOTO(claim_all(fate, map, ckpt));
    VITRO_GOTO(plan(&new, fate, map, ckpt));
    st = vitro_ckpt_rearrange(ckpt, new.move, new.count);
done:
    vitro_free(new.source);
    vitro_free(new.name);
    vitro_free(new.move);
    vitro_free(fate);
    return st;
}

/* ---- the public face ------------------------------------------------------------------------- */

static VitroStatus rename_by_file(VitroCheckpoint *ckpt, const char *path)
{
    VitroBuf text;
    VitroKeyMap *map = NULL;
    vitro_buf_init(&text, MAX_TEXT);
    VITRO_TRY(vitro_fs_read(&text, path)); /* its texts start with the path */
    VitroStatus st = vitro_key_map_parse(&map, (const char *)text.data, text.len);
    if (st == VITRO_OK)
        st = vitro_key_map_rename(map, ckpt);
    if (st != VITRO_OK)
        st = vitro_fail_prefix(st, "%s", path);
    vitro_key_map_free(map);
    vitro_buf_deinit(&text);
    return st;
}

VitroStatus vitro_checkpoint_adopt_names(VitroCheckpoint *ckpt, const char *key_map)
{
    const VitroFamily *known = NULL;
    VitroKeyMap *map = NULL;
    VitroStatus st = VITRO_OK;
    if (key_map) {
        VITRO_TRY(rename_by_file(ckpt, key_map));
    } else {
        st = vitro_family_of(&known, &map, ckpt);
        if (st == VITRO_OK && map)
            st = vitro_key_map_rename(map, ckpt);
        vitro_key_map_free(map);
        if (st != VITRO_OK)
            return vitro_fail_prefix(st, "%s: under %s's names", vitro_checkpoint_path(ckpt),
                                     known ? known->name : "foreign");
    }
    ckpt->naming = key_map ? "key map" : known ? known->name : NULL;
    return VITRO_OK;
}
