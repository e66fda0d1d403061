/* SPDX-License-Identifier: Apache-2.0 */
/* The parser of command lines. Knows the tables' form, not their contents. */
#include "args_int.h"
#include "manual.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define NAME_MAX_BYTES 64

const ArgOption *args_option(const ArgSpec *spec, int i, const ArgGroup **group)
{
    for (int g = 0; g < ARG_GROUPS_MAX && spec->groups[g].options; g++) {
        if (i < spec->groups[g].count) {
            *group = &spec->groups[g];
            return &spec->groups[g].options[i];
        }
        i -= spec->groups[g].count;
    }
    *group = NULL;
    return NULL;
}

/* Position of the option over all groups, or -1. */
static int find(const ArgSpec *spec, const char *name)
{
    const ArgGroup *group;
    const ArgOption *option;
    for (int i = 0; (option = args_option(spec, i, &group)) != NULL; i++)
        if (strcmp(option->name, name) == 0)
            return i;
    return -1;
}

bool args_given(const Args *args, const char *name)
{
    int i = find(args->spec, name);
    assert(i >= 0);
    return args->given[i];
}

char *args_text(const Args *args, const char *name)
{
    const ArgGroup *group = NULL;
    const ArgOption *option = args_option(args->spec, find(args->spec, name), &group);
    char *text = NULL;
    size_t size;
    FILE *out = open_memstream(&text, &size);
    if (out)
        args_value_print(option, group->base, ARG_EXACT_DIGITS, out);
    bool bad = !out || ferror(out);
    if ((out && fclose(out)) || bad || !text) /* glibc's fclose is content without the text */
        exit(cli_fail("out of memory for an option's text"));
    return text;
}

bool args_set(Args *args, const char *name, const char *text)
{
    int i = find(args->spec, name);
    const ArgGroup *group = NULL;
    const ArgOption *option = args_option(args->spec, i, &group);
    bool ok = args_value_set(option, group->base, text);
    args->given[i] |= ok;
    return ok;
}

/* How many letters to insert, remove or change to make `a` of `b`. Words up to NAME_MAX_BYTES. */
static int distance(const char *a, const char *b)
{
    int row[NAME_MAX_BYTES + 1];
    int n = (int)strlen(b);
    for (int j = 0; j <= n; j++)
        row[j] = j;
    for (int i = 1; a[i - 1]; i++) {
        int diagonal = row[0];
        row[0] = i;
        for (int j = 1; j <= n; j++) {
            int change = diagonal + (a[i - 1] != b[j - 1]);
            diagonal = row[j];
            int other = (row[j] < row[j - 1] ? row[j] : row[j - 1]) + 1;
            row[j] = change < other ? change : other;
        }
    }
    return row[n];
}

const char *args_nearest(const char *word, const char *const *words)
{
    const char *best = NULL;
    int best_distance = 0;
    size_t length = strlen(word);
    for (; length && length <= NAME_MAX_BYTES && *words; words++) {
        if (strlen(*words) > NAME_MAX_BYTES)
            continue;
        /* What begins a longer word counts as near to it: --batch for --batch-size. */
        int d = strncmp(word, *words, length) == 0 ? 1 : distance(word, *words);
        if (!best || d < best_distance) {
            best = *words;
            best_distance = d;
        }
    }
    return best && best_distance <= (int)(length + 3) / 4 + 1 ? best : NULL;
}

static int unknown_option(const ArgSpec *spec, const char *argument, const char *name)
{
    const char *names[ARG_OPTIONS_MAX + 2] = {"help"};
    const ArgGroup *group;
    const ArgOption *option;
    for (int i = 0; (option = args_option(spec, i, &group)) != NULL; i++)
        names[i + 1] = option->name;
    const char *nearest = args_nearest(name, names);
    char shown[NAME_MAX_BYTES + 1];
    cli_clean(shown, sizeof(shown), argument);
    if (nearest)
        return cli_usage("vitro %s has no option '%s'; did you mean --%s?", spec->command, shown,
                         nearest);
    return cli_usage("vitro %s has no option '%s'; `vitro %s --help` lists them", spec->command,
                     shown, spec->command);
}

static int wrong_value(const ArgOption *option, const char *value)
{
    char shown[81], expected[640];
    args_value_expected(option, expected, sizeof(expected));
    return cli_usage("option --%s: found '%s', expected %s", option->name,
                     cli_clean(shown, sizeof(shown), value), expected);
}

/* The option's name in `argument` ("--batch_size=8"), in the tables' spelling. */
static void option_name(char *name, const char *argument)
{
    const char *from = argument + 2;
    int n = 0;
    for (; from[n] && from[n] != '=' && n < NAME_MAX_BYTES; n++)
        name[n] = from[n] == '_' ? '-' : from[n];
    name[n] = 0;
}

/* A flag takes the next argument only where that can hardly be an operand. */
static bool flag_takes(const char *next)
{
    static const char *const words[] = {"true", "false", "yes", "no"};
    for (int i = 0; next && i < ARG_COUNT(words); i++)
        if (strcmp(next, words[i]) == 0)
            return true;
    return false;
}

/* argv[*at] is an option; *at is left at the last argument that belongs to it. */
static int take_option(Args *args, int argc, char **argv, int *at)
{
    const char *argument = argv[*at];
    char name[NAME_MAX_BYTES + 1];
    option_name(name, argument);
    int i = find(args->spec, name);
    if (i < 0)
        return unknown_option(args->spec, argument, name);
    const ArgGroup *group = NULL;
    const ArgOption *option = args_option(args->spec, i, &group);
    const char *value = strchr(argument, '=');
    const char *next = *at + 1 < argc ? argv[*at + 1] : NULL;
    if (value) {
        value++;
    } else if (option->type == ARG_FLAG && !flag_takes(next)) {
        value = "true";
    } else {
        char after[NAME_MAX_BYTES + 1] = "";
        if (next && strncmp(next, "--", 2) == 0)
            option_name(after, next);
        if (!next || (after[0] && find(args->spec, after) >= 0)) {
            char expected[640];
            args_value_expected(option, expected, sizeof(expected));
            return cli_usage("option --%s: found %s%s, expected %s", option->name,
                             next ? "the option --" : "nothing behind it", after, expected);
        }
        value = next;
        ++*at;
    }
    if (!args_value_set(option, group->base, value))
        return wrong_value(option, value);
    args->given[i] = true;
    return CLI_OK;
}

static void set_defaults(const ArgSpec *spec)
{
    const ArgGroup *group;
    const ArgOption *option;
    for (int i = 0; (option = args_option(spec, i, &group)) != NULL; i++) {
        assert(i < ARG_OPTIONS_MAX);
        bool ok = !option->def || args_value_set(option, group->base, option->def);
        assert(ok);
        (void)ok;
    }
}

static int check_operands(const ArgSpec *spec, int count, const char *const *operands)
{
    char shown[81];
    if (count > spec->max_operands)
        return cli_usage("vitro %s: found '%s', expected %s%s", spec->command,
                         cli_clean(shown, sizeof(shown), operands[spec->max_operands]),
                         spec->max_operands ? "no more than " : "options only",
                         spec->max_operands ? spec->operand : "");
    if (count < spec->min_operands)
        return cli_usage("vitro %s: found no %s; usage: vitro %s %s", spec->command, spec->operand,
                         spec->command, spec->usage);
    return ARGS_RUN;
}

static bool asks_for_help(const char *argument, const char **form)
{
    bool with_form = strncmp(argument, "--help=", 7) == 0;
    *form = with_form ? argument + 7 : "text";
    return with_form || strcmp(argument, "--help") == 0 || strcmp(argument, "-h") == 0;
}

static int print_help(const ArgSpec *spec, const char *form)
{
    static const struct {
        const char *name;
        void (*print)(const ArgSpec *spec, FILE *out);
    } forms[] = {{"text", args_help},
                 {"man", manual_command},
                 {"bash", completion_bash_command},
                 {"zsh", completion_zsh_command}};
    for (int i = 0; i < ARG_COUNT(forms); i++)
        if (strcmp(form, forms[i].name) == 0) {
            forms[i].print(spec, stdout);
            return CLI_OK;
        }
    char shown[81];
    return cli_usage("option --help: found '%s', expected text, man, bash or zsh",
                     cli_clean(shown, sizeof(shown), form));
}

int args_parse(Args *args, const ArgSpec *spec, int argc, char **argv)
{
    *args = (Args){.spec = spec};
    const char **operands = cli_alloc((size_t)argc + 1, sizeof(*operands));
    int count = 0, status = CLI_OK;
    bool options_over = false, help = false;
    const char *form = NULL;
    set_defaults(spec);
    for (int i = 1; i < argc && status == CLI_OK && !help; i++) {
        const char *a = argv[i];
        if (!options_over && strcmp(a, "--") == 0)
            options_over = true;
        else if (!options_over && asks_for_help(a, &form))
            help = true;
        else if (!options_over && strncmp(a, "--", 2) == 0)
            status = take_option(args, argc, argv, &i);
        else if (!options_over && a[0] == '-' && a[1])
            status = unknown_option(spec, a, a + 1);
        else
            operands[count++] = a;
    }
    args->operands = operands;
    args->operand_count = count;
    if (help)
        status = print_help(spec, form);
    else if (status == CLI_OK)
        status = check_operands(spec, count, operands);
    if (status != ARGS_RUN)
        args_deinit(args);
    return status;
}

void args_deinit(Args *args)
{
    free((void *)args->operands);
    args->operands = NULL;
    args->operand_count = 0;
}

void args_print(const Args *args, FILE *out)
{
    const ArgGroup *group;
    const ArgOption *option;
    for (int i = 0; (option = args_option(args->spec, i, &group)) != NULL; i++) {
        fprintf(out, "%s%s=", i ? ", " : "", option->name);
        args_value_print(option, group->base, ARG_SHOWN_DIGITS, out);
    }
}
