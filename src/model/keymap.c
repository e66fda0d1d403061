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

#define MAX_TEXT    ((size_t)1 << 20) /* bytes of a key map */
#define MAX_RULES   4096
#define MAX_TERMS   64 /* sources of one line: 3 x the heads of one that stores them one by one */
#define MAX_BLOCKS  65536
#define MAX_STACKED 1024 /* blocks in one tensor */
#define MAX_NAME    256  /* bytes, with the NUL */

typedef struct Term {
    char pattern[MAX_NAME];
    bool has_star; /* in the name, */
    bool stacked;  /* or "[*]" behind it */
    bool splits;   /* "{ppc}" */
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

static bool ends_with(const char *s, const char *end)
{
    size_t n = strlen(s), m = strlen(end);
    return n >= m && strcmp(s + n - m, end) == 0;
}

/* Whether the name ends so; then it does no longer. */
static bool take_end(Term *t, const char *end)
{
    size_t n = strlen(t->pattern), m = strlen(end);
    if (n <= m || !ends_with(t->pattern, end))
        return false;
    t->pattern[n - m] = 0;
    return true;
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
    t->splits = take_end(t, "{ppc}");
    t->stacked = take_end(t, "[*]");
    const char *star = strchr(t->pattern, '*');
    t->has_star = star != NULL;
    if (star && (t->stacked || strchr(star + 1, '*')))
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
    if (r->target.axis_count || r->target.stacked || r->target.splits)
        return FAIL(l->number, "axes, [*] and {ppc} belong to names left of the '='");
    for (int i = 0; i < r->count; i++)
        if ((r->term[i].has_star || r->term[i].stacked) != r->target.has_star ||
            r->term[i].stacked != r->term[0].stacked)
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
    if (ends_with(name, "_token") || strcmp(name, "pos_embed") == 0 || ends_with(name, ".latent")) {
        while (s->rank > 3 && s->dim[0] == 1)
            merge(s, 0, 2);
        for (; s->rank < 3; s->rank++) {
            memmove(s->dim + 1, s->dim, (size_t)s->rank * sizeof(s->dim[0]));
            s->dim[0] = 1;
        }
    } else if (s->rank > 1 && (ends_with(name, ".bias") || strstr(name, "norm"))) {
        merge(s, 0, s->rank);
    } else if (s->rank > 2 && (ends_with(name, ".qkv.weight") || ends_with(name, ".q.weight") ||
                               ends_with(name, ".kv.weight"))) {
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

/* "- decoder_*": whatever begins so. */
static bool is_wild(const Rule *rule)
{
    return rule->drops && ends_with(rule->term[0].pattern, "*");
}

static void claim_wild(Fate *fate, const VitroKeyMap *map, int r, const VitroCheckpoint *ckpt)
{
    const char *pattern = map->rule[r].term[0].pattern;
    for (int64_t i = 0; i < vitro_checkpoint_count(ckpt); i++)
        if (fate[i].rule < 0 &&
            strncmp(vitro_checkpoint_info(ckpt, i)->name, pattern, strlen(pattern) - 1) == 0)
            fate[i] = (Fate){r, 0, false};
}

static VitroStatus claim_all(Fate *fate, const VitroKeyMap *map, const VitroCheckpoint *ckpt)
{
    char name[MAX_FILLED];
    for (int r = 0; r < map->count; r++) {
        const Rule *rule = &map->rule[r];
        bool found = true;
        int n = 0;
        if (is_wild(rule)) {
            claim_wild(fate, map, r, ckpt);
            continue;
        }
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

/* {ppc}: the last dimension becomes three. */
static VitroStatus split_patch(Shape *s, const char *name, int line)
{
    int64_t n = s->rank ? s->dim[s->rank - 1] : 0, channels = n % 3 == 0 ? 3 : 1, side = 1;
    for (;; channels = 1, side = 1) {
        while (side < 16384 && side * side * channels < n)
            side++;
        if (side * side * channels == n || channels == 1)
            break;
    }
    if (side * side * channels != n || s->rank + 2 > VITRO_CKPT_MAX_RANK)
        return FAIL(line, "tensor \"%s\": %lld elements are no square patch of 3 channels or 1",
                    name, (long long)n);
    s->dim[s->rank - 1] = s->dim[s->rank] = side;
    s->dim[s->rank + 1] = channels;
    s->rank += 2;
    return VITRO_OK;
}

/* Where block n's source is, and its shape. */
static VitroStatus find_source(VitroCkptSource *out, Shape *shape, const VitroCheckpoint *ckpt,
                               const Term *t, int n, int line)
{
    *out = (VitroCkptSource){.index = find(ckpt, t, n), .axis_count = t->axis_count};
    memcpy(out->axis, t->axis, sizeof(out->axis));
    const VitroTensorInfo *info = vitro_checkpoint_info(ckpt, out->index);
    Shape s = {.rank = info->rank};
    memcpy(s.dim, info->dim, sizeof(s.dim));
    if (t->stacked) {
        out->is_slice = true;
        out->slice = n;
        s.rank--;
        memmove(s.dim, s.dim + 1, (size_t)s.rank * sizeof(s.dim[0]));
    }
    if (t->splits) {
        if (!ckpt->tensor[out->index].contiguous)
            return FAIL(line, "tensor \"%s\" is not contiguous", info->name);
        VITRO_TRY(split_patch(&s, info->name, line));
        out->view_rank = s.rank;
        memcpy(out->view, s.dim, sizeof(out->view));
    }
    if (t->axis_count && t->axis_count != s.rank)
        return FAIL(line, "tensor \"%s\" has %d dimensions, %d axes are given", info->name, s.rank,
                    t->axis_count);
    *shape = s;
    for (int d = 0; d < s.rank && t->axis_count; d++)
        shape->dim[d] = s.dim[t->axis[d]];
    return VITRO_OK;
}

/* Adds a source of shape `s` to the shape of those before it. */
static VitroStatus join(Shape *joined, const VitroTensorInfo *info, const Shape *s, int line,
                        bool is_first, VitroDtype dtype)
{
    char text[128], other[128];
    if (is_first) {
        *joined = *s;
        return VITRO_OK;
    }
    bool fits = s->rank == joined->rank && s->rank > 0 && info->dtype == dtype &&
                memcmp(s->dim + 1, joined->dim + 1, (size_t)(s->rank - 1) * sizeof(s->dim[0])) == 0;
    if (!fits || __builtin_add_overflow(joined->dim[0], s->dim[0], &joined->dim[0]))
        return FAIL(line, "tensor \"%s\" of type %s and shape %s cannot be joined to %s %s",
                    info->name, vitro_dtype_name(info->dtype),
                    vitro_tensor_shape_text(text, sizeof(text), s->rank, s->dim),
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
        VitroCkptSource *s = &out->source[out->source_count++];
        Shape of_source;
        VITRO_TRY(find_source(s, &of_source, ckpt, &rule->term[k], n, rule->line));
        const VitroTensorInfo *info = vitro_checkpoint_info(ckpt, s->index);
        dtype = k == 0 ? info->dtype : dtype;
        VITRO_TRY(join(&shape, info, &of_source, rule->line, k == 0, dtype));
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

/* How many tensors rule `r` makes of the one that leads it: more than one where that is stacked. */
static VitroStatus count_made(int64_t *out, const Rule *rule, const VitroCheckpoint *ckpt)
{
    char text[128];
    *out = 1;
    for (int k = 0; k < rule->count && rule->term[0].stacked; k++) {
        const VitroTensorInfo *info = vitro_checkpoint_info(ckpt, find(ckpt, &rule->term[k], 0));
        const int64_t n = info->rank ? info->dim[0] : 0;
        if (n < 1 || n > MAX_STACKED || (k && n != *out))
            return FAIL(
                rule->line,
                "tensor \"%s\" of shape %s: expected 1 to %d blocks in the first dimension, "
                "as many as in its like",
                info->name, vitro_tensor_shape_text(text, sizeof(text), info->rank, info->dim),
                MAX_STACKED);
        *out = n;
    }
    return VITRO_OK;
}

/* A line about what is left out, for people: some names and how many there are. */
static VitroStatus tell_dropped(VitroCheckpoint *ckpt, const Fate *fate, const VitroKeyMap *map)
{
    enum { NAMED = 4 };
    VitroBuf text;
    int64_t count = 0;
    const char *all;
    vitro_buf_init(&text, 4096);
    VitroStatus st = VITRO_OK;
    for (int64_t i = 0; i < vitro_checkpoint_count(ckpt); i++)
        if (fate[i].rule >= 0 && map->rule[fate[i].rule].drops && count++ < NAMED)
            VITRO_GOTO(vitro_buf_printf(&text, "%s%.100s", count > 1 ? ", " : "left out: ",
                                        vitro_checkpoint_info(ckpt, i)->name));
    if (count > NAMED)
        VITRO_GOTO(vitro_buf_printf(&text, ", ... (%lld tensors)", (long long)count));
    if (count && ckpt->remark)
        VITRO_GOTO(vitro_buf_printf(&text, "; %s", ckpt->remark));
    if (count) {
        VITRO_GOTO(vitro_buf_cstr(&text, &all));
        char *copy = vitro_strdup(all);
        st = copy ? VITRO_OK : VITRO_NOMEM;
        vitro_free(ckpt->remark);
        ckpt->remark = copy;
    }
done:
    vitro_buf_deinit(&text);
    return st;
}

static VitroStatus plan(Renaming *out, const Fate *fate, const VitroKeyMap *map,
                        const VitroCheckpoint *ckpt)
{
    for (int64_t i = 0; i < vitro_checkpoint_count(ckpt); i++) {
        const Rule *rule = fate[i].rule < 0 ? NULL : &map->rule[fate[i].rule];
        int64_t made = 0;
        if (!rule)
            VITRO_TRY(keep(out, ckpt, i));
        if (!rule || !fate[i].leads || rule->drops)
            continue;
        VITRO_TRY(count_made(&made, rule, ckpt));
        for (int64_t n = 0; n < made; n++)
            VITRO_TRY(
                put_together(out, ckpt, rule, rule->term[0].stacked ? (int)n : fate[i].block));
    }
    return VITRO_OK;
}

/* Tensors and sources that `plan` is going to need. */
static VitroStatus count_planned(int64_t *tensors, int64_t *sources, const Fate *fate,
                                 const VitroKeyMap *map, const VitroCheckpoint *ckpt)
{
    *tensors = *sources = 0;
    for (int64_t i = 0; i < vitro_checkpoint_count(ckpt); i++) {
        int64_t made = 1, each = 1;
        if (fate[i].rule >= 0 && fate[i].leads && !map->rule[fate[i].rule].drops) {
            VITRO_TRY(count_made(&made, &map->rule[fate[i].rule], ckpt));
            each = map->rule[fate[i].rule].count;
        }
        *tensors += made;
        *sources += made * each;
    }
    return VITRO_OK;
}

VitroStatus vitro_key_map_rename(const VitroKeyMap *map, VitroCheckpoint *ckpt)
{
    size_t count = (size_t)vitro_checkpoint_count(ckpt);
    int64_t tensors, sources;
    VitroStatus st = VITRO_E_NOMEM;
    Renaming new = {0};
    Fate *fate = vitro_calloc(count, sizeof(*fate));
    if (!fate)
        goto done;
    for (size_t i = 0; i < count; i++) {
        fate[i].rule = -1;
        if (ckpt->tensor[i].part_count) {
            st = vitro_fail(VITRO_E_ARG, "a key map has been used on this file before");
            goto done;
        }
    }
    VITRO_GOTO(claim_all(fate, map, ckpt));
    VITRO_GOTO(count_planned(&tensors, &sources, fate, map, ckpt));
    st = VITRO_E_NOMEM;
    new.move = vitro_calloc((size_t)tensors, sizeof(*new.move));
    new.name = vitro_calloc((size_t)tensors, sizeof(*new.name));
    new.source = vitro_calloc((size_t)sources, sizeof(*new.source));
    if (!new.move || !new.name || !new.source)
        goto done;
    VITRO_GOTO(plan(&new, fate, map, ckpt));
    VITRO_GOTO(tell_dropped(ckpt, fate, map));
    st = vitro_ckpt_rearrange(ckpt, new.move, new.count);
done:
    vitro_free(new.source);
    vitro_free(new.name);
    vitro_free(new.move);
    vitro_free(fate);
    return st;
}

/* Names that begin with `prefix` lose it; the others are left out, and told. */
static VitroStatus strip(VitroCheckpoint *ckpt, const char *prefix)
{
    const size_t count = (size_t)vitro_checkpoint_count(ckpt), n = strlen(prefix);
    Rule rule = {.drops = true};
    const VitroKeyMap map = {.rule = &rule, .count = 1};
    Renaming new = {.move = vitro_calloc(count, sizeof(*new.move)),
                    .source = vitro_calloc(count, sizeof(*new.source))};
    Fate *fate = vitro_calloc(count, sizeof(*fate));
    VitroStatus st = VITRO_E_NOMEM;
    if (!new.move || !new.source || !fate)
        goto done;
    for (size_t i = 0; i < count; i++) {
        const char *name = vitro_checkpoint_info(ckpt, (int64_t)i)->name;
        bool kept = strncmp(name, prefix, n) == 0 && name[n];
        fate[i].rule = kept ? -1 : 0;
        if (!kept)
            continue;
        VITRO_GOTO(keep(&new, ckpt, (int64_t)i));
        new.move[new.count - 1].name += n;
    }
    VITRO_GOTO(tell_dropped(ckpt, fate, &map));
    st = vitro_ckpt_rearrange(ckpt, new.move, new.count);
done:
    vitro_free(fate);
    vitro_free(new.source);
    vitro_free(new.move);
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

/* What programs put before a backbone's names, one or several of them. */
static bool is_wrapping(const char *prefix, size_t size)
{
    static const char *const words[] = {"module.",  "model.",   "_orig_mod.", "backbone.",
                                        "encoder.", "teacher.", "student.",   "base_model.",
                                        "params/",  "opt/",     "target/",    "img/"};
    while (size > 0) {
        size_t n = 0;
        for (size_t i = 0; i < sizeof(words) / sizeof(words[0]) && !n; i++)
            if (strlen(words[i]) <= size && strncmp(prefix, words[i], strlen(words[i])) == 0)
                n = strlen(words[i]);
        if (!n)
            return false;
        prefix += n;
        size -= n;
    }
    return true;
}

/* vit-pytorch's models without a class token keep one of no elements. */
static VitroStatus drop_empty_class(VitroCheckpoint *ckpt)
{
    static const char text[] = "- cls_token\n";
    VitroKeyMap *map;
    int64_t i = vitro_checkpoint_find(ckpt, "cls_token");
    if (i < 0 || vitro_checkpoint_info(ckpt, i)->count > 0)
        return VITRO_OK;
    VITRO_TRY(vitro_key_map_parse(&map, text, strlen(text)));
    VitroStatus st = vitro_key_map_rename(map, ckpt);
    vitro_key_map_free(map);
    return st;
}

/* A tensor that every ViT has, under each of the known namings. */
static const char *const marks[] = {
    "patch_embed.proj.weight", "embeddings.patch_embeddings.projection.weight", "conv_proj.weight",
    "to_patch_embedding.1.weight", "embedding/kernel"};

/* Where a backbone lies under a prefix beside other things (DINO's teacher, a detector's body), it
 * alone is kept, without the prefix. */
static VitroStatus unwrap(VitroCheckpoint *ckpt)
{
    const char *name = NULL;
    size_t size = 0;
    for (int64_t i = 0; i < vitro_checkpoint_count(ckpt) && !size; i++)
        for (size_t k = 0; k < sizeof(marks) / sizeof(marks[0]) && !size; k++) {
            name = vitro_checkpoint_info(ckpt, i)->name;
            if (ends_with(name, marks[k]))
                size = strlen(name) - strlen(marks[k]);
            if (size && !is_wrapping(name, size))
                size = 0;
        }
    if (!size || size >= MAX_NAME - 8)
        return VITRO_OK;
    char prefix[MAX_NAME];
    snprintf(prefix, sizeof(prefix), "%.*s", (int)size, name);
    return strip(ckpt, prefix);
}

VitroStatus vitro_checkpoint_adopt_names(VitroCheckpoint *ckpt, const char *key_map)
{
    const VitroFamily *known = NULL;
    VitroKeyMap *map = NULL;
    VitroStatus st = VITRO_OK;
    if (key_map) {
        VITRO_TRY(rename_by_file(ckpt, key_map));
    } else {
        VITRO_TRY(unwrap(ckpt));
        VITRO_TRY(drop_empty_class(ckpt));
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
