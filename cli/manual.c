/* SPDX-License-Identifier: Apache-2.0 */
/* Manual pages in roff's man macros, from the same rows that the parser reads. */
#include "manual.h"

#include "args_int.h"

#include <ctype.h>
#include <string.h>

/* Text as roff takes it: no hyphenation of '-', no escapes, no requests at the start of a line. */
static void put_roff(FILE *out, const char *text)
{
    bool line_begins = true;
    for (const char *c = text; *c; c++) {
        if (line_begins && (*c == '.' || *c == '\''))
            fputs("\\&", out);
        line_begins = *c == '\n';
        if (*c == '-')
            fputs("\\-", out);
        else if (*c == '\\')
            fputs("\\e", out);
        else if (*c == '\'')
            fputs("\\(aq", out);
        else if (*c == '"')
            fputs("\\(dq", out);
        else if (*c == '`')
            fputs("\\(ga", out);
        else if (*c == '~')
            fputs("\\(ti", out);
        else if (*c == '^')
            fputs("\\(ha", out);
        else
            fputc(*c, out);
    }
}

static void put_title(FILE *out, const char *command)
{
    fputs(".\\\" Made from the program's option tables.\n.TH VITRO", out);
    if (command)
        fputs("\\-", out);
    for (; command && *command; command++)
        fputc(toupper((unsigned char)*command), out);
    fprintf(out, " 1 \"\" \"Vitro %s\" \"Vitro Manual\"\n", vitro_version());
}

/* Paragraphs with a blank line between them; inside one, lines are filled. */
static void put_paragraphs(FILE *out, const char *text)
{
    while (*text) {
        const char *end = strstr(text, "\n\n");
        size_t length = end ? (size_t)(end - text) : strlen(text);
        char paragraph[2048];
        snprintf(paragraph, sizeof(paragraph), "%.*s", (int)length, text);
        put_roff(out, paragraph);
        fputc('\n', out);
        text += length;
        text += strspn(text, "\n");
        if (*text)
            fputs(".PP\n", out);
    }
}

/* "vitro predict --weights FILE [options] IMAGE...": what is not a word to type is in italics. */
static void put_synopsis(FILE *out, const ArgSpec *spec)
{
    fprintf(out, ".SH SYNOPSIS\n.B vitro %s\n", spec->command);
    put_roff(out, spec->usage);
    fputc('\n', out);
}

/* Help texts begin small and end without a full stop. */
static void put_sentence(FILE *out, const char *text)
{
    char first[2] = {(char)toupper((unsigned char)text[0]), 0};
    put_roff(out, first);
    put_roff(out, text + 1);
    fputc('.', out);
}

static void put_option(FILE *out, const ArgOption *o)
{
    char range[128];
    args_value_range(o, range, sizeof(range));
    fputs(".TP\n\\fB\\-\\-", out);
    put_roff(out, o->name);
    fputs("\\fR", out);
    if (o->type != ARG_FLAG) {
        fputs(" \\fI", out);
        put_roff(out, args_metavar(o));
        fputs("\\fR", out);
    }
    fputc('\n', out);
    put_sentence(out, o->help);
    if (o->choices) {
        fputs(o->type == ARG_CHOICES ? "\nSome of" : "\nOne of", out);
        for (int i = 0; o->choices[i]; i++) {
            fputs(i ? ",\n\\fB" : "\n\\fB", out);
            put_roff(out, o->choices[i]);
            fputs("\\fR", out);
        }
        fputc('.', out);
    }
    if (range[0])
        fprintf(out, "\nRange: %s.", range);
    const char *def = o->def_help ? o->def_help : o->type == ARG_FLAG ? NULL : o->def;
    if (def) {
        fputs("\nDefault: ", out);
        put_roff(out, def);
        fputc('.', out);
    }
    fputc('\n', out);
}

static const char status_section[] =
    ".SH EXIT STATUS\n.TP\n0\nDone.\n.TP\n1\nIt failed: bad data, a bad file, no memory.\n"
    "One line on standard error names the file or option, what was found and what was expected.\n"
    ".TP\n2\nThe command line is wrong.\n";

/* The first sentence of `about`, which begins with "Says", "Measures", ... */
static void put_name(FILE *out, const ArgSpec *spec)
{
    char sentence[256];
    snprintf(sentence, sizeof(sentence), "%s", spec->about);
    sentence[strcspn(sentence, ".:\n")] = 0;
    sentence[0] = (char)tolower((unsigned char)sentence[0]);
    fprintf(out, ".SH NAME\nvitro\\-%s \\- ", spec->command);
    put_roff(out, sentence);
    fputc('\n', out);
}

void manual_command(const ArgSpec *spec, FILE *out)
{
    put_title(out, spec->command);
    put_name(out, spec);
    put_synopsis(out, spec);
    fputs(".SH DESCRIPTION\n", out);
    put_paragraphs(out, spec->about);
    fputs(".SH OPTIONS\n"
          "In the name of an option, \\- and _ mean the same.\n"
          "\\fIBOOL\\fR is true or false (also 1, 0, yes, no); lists have commas between items.\n",
          out);
    for (int g = 0; g < ARG_GROUPS_MAX && spec->groups[g].options; g++) {
        fputs(".SS \"", out);
        put_roff(out, spec->groups[g].title);
        fputs("\"\n", out);
        for (int i = 0; i < spec->groups[g].count; i++)
            put_option(out, &spec->groups[g].options[i]);
    }
    fputs(".SS \"Help\"\n.TP\n\\fB\\-\\-help\\fR\nList the options.\n", out);
    fputs(status_section, out);
    fputs(".SH SEE ALSO\n.BR vitro (1)\n", out);
}

void manual_program(const Command *commands, FILE *out)
{
    put_title(out, NULL);
    fputs(".SH NAME\nvitro \\- train, evaluate and use Vision Transformers\n"
          ".SH SYNOPSIS\n.B vitro\n\\fICOMMAND\\fR [\\fIoptions\\fR] ...\n.br\n"
          ".B vitro \\-\\-version\n"
          ".SH DESCRIPTION\n"
          "Vitro is the model of \\(lqAn Image is Worth 16x16 Words\\(rq in C, with PyTorch\\(aqs\n"
          "numbers and PyTorch\\(aqs weight files.\n"
          "Results go to standard output, progress and notes to standard error.\n"
          ".SH COMMANDS\n",
          out);
    for (const Command *c = commands; c->name; c++) {
        fprintf(out, ".TP\n.BR vitro\\-%s (1)\n", c->name);
        put_sentence(out, c->summary);
        fputc('\n', out);
    }
    fputs(status_section, out);
    fputs(".SH ENVIRONMENT\n"
          ".TP\nOMP_NUM_THREADS\nThreads that compute, where \\-\\-threads is not given.\n"
          ".TP\nOMP_WAIT_POLICY\n\\(lqpassive\\(rq lets waiting threads sleep: better on a machine "
          "that has other work.\n"
          ".SH EXAMPLES\n"
          "Train a head on your own pictures, a folder per class, then use it:\n.PP\n.nf\n"
          "vitro train \\-\\-data\\-path flowers \\-\\-weights vit_base_patch16_224_in21k.pth\n"
          "vitro predict \\-\\-weights weights/model\\-19.pth tulip.jpg\n.fi\n"
          ".SH SEE ALSO\n",
          out);
    for (const Command *c = commands; c->name; c++)
        fprintf(out, ".BR vitro\\-%s (1)%s\n", c->name, c[1].name ? "," : "");
}
