/* SPDX-License-Identifier: Apache-2.0 */
/* The help text, made of the same rows that the parser reads. */
#include "args_int.h"

#include <string.h>

#define TEXT_COLUMN 26
#define LAST_COLUMN 80

/* Words of `text` from column `at` on, further lines indented to TEXT_COLUMN. */
static void print_wrapped(FILE *out, const char *text, int at)
{
    while (*text) {
        int word = (int)strcspn(text, " ");
        bool first = at == TEXT_COLUMN;
        if (!first && at + 1 + word > LAST_COLUMN) {
            fprintf(out, "\n%*s", TEXT_COLUMN, "");
            at = TEXT_COLUMN;
            first = true;
        }
        fprintf(out, "%s%.*s", first ? "" : " ", word, text);
        at += word + !first;
        text += word;
        text += strspn(text, " ");
    }
    fputc('\n', out);
}

const char *args_metavar(const ArgOption *o)
{
    static const char *const by_type[] = {
        [ARG_FLAG] = "",           [ARG_BOOL] = "BOOL",  [ARG_INT] = "N",
        [ARG_INT64] = "N",         [ARG_REAL] = "X",     [ARG_TEXT] = "TEXT",
        [ARG_CHOICE] = "WORD",     [ARG_INTS] = "N,N..", [ARG_REALS] = "X,X..",
        [ARG_CHOICES] = "WORD,..", [ARG_SIZE] = "N|HxW",
    };
    return o->metavar ? o->metavar : by_type[o->type];
}

static void print_option(const ArgOption *o, FILE *out)
{
    char range[128], text[1536], choices[768] = "";
    args_value_range(o, range, sizeof(range));
    if (o->choices) {
        size_t n = 0;
        for (int i = 0; o->choices[i] && n < sizeof(choices); i++)
            n += (size_t)snprintf(choices + n, sizeof(choices) - n, "%s%s", i ? "|" : ": ",
                                  o->choices[i]);
    }
    const char *def = o->def_help ? o->def_help : o->type == ARG_FLAG ? NULL : o->def;
    bool both = range[0] && def;
    snprintf(text, sizeof(text), "%s%s%s%s%s%s%s%s", o->help, choices, range[0] || def ? " (" : "",
             range, both ? "; " : "", def ? "default " : "", def ? def : "",
             range[0] || def ? ")" : "");
    int at = fprintf(out, "  --%s %s", o->name, args_metavar(o));
    if (at > TEXT_COLUMN - 1) {
        fputc('\n', out);
        at = 0;
    }
    fprintf(out, "%*s", TEXT_COLUMN - at, "");
    print_wrapped(out, text, TEXT_COLUMN);
}

void args_help(const ArgSpec *spec, FILE *out)
{
    fprintf(out, "usage: vitro %s %s\n\n%s\n", spec->command, spec->usage, spec->about);
    for (int g = 0; g < ARG_GROUPS_MAX && spec->groups[g].options; g++) {
        fprintf(out, "\n%s:\n", spec->groups[g].title);
        for (int i = 0; i < spec->groups[g].count; i++)
            print_option(&spec->groups[g].options[i], out);
    }
    fputs(
        "\n  --help                  this text\n"
        "\n'-' and '_' in an option's name mean the same; BOOL is true or false (1, 0, yes, no).\n"
        "Exit status: 0 done, 1 it failed, 2 the command line is wrong.\n",
        out);
}
