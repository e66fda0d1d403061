/* SPDX-License-Identifier: Apache-2.0 */
/* Completion for bash and zsh, from the same rows that the parser reads. */
#include "manual.h"

#include "args_int.h"

#include <string.h>

/* Each command prints its own part of the script: the tables are known nowhere else. */
static void print_parts(const Command *commands, const char *form)
{
    char option[32];
    snprintf(option, sizeof(option), "--help=%s", form);
    for (const Command *c = commands; c->name; c++) {
        char name[32];
        snprintf(name, sizeof(name), "%s", c->name);
        char *argv[] = {name, option, NULL};
        (void)!c->run(2, argv);
    }
}

/* ---- bash ------------------------------------------------------------------------------------ */

void completion_bash_command(const ArgSpec *spec, FILE *out)
{
    const ArgGroup *group;
    const ArgOption *o;
    fprintf(out, "    %s)\n        words='--help", spec->command);
    for (int i = 0; (o = args_option(spec, i, &group)) != NULL; i++)
        fprintf(out, " --%s", o->name);
    fputs("'\n        case $before in\n", out);
    for (int i = 0; (o = args_option(spec, i, &group)) != NULL; i++) {
        if (o->type == ARG_FLAG)
            continue;
        fprintf(out, "        --%s) words='", o->name);
        for (int k = 0; o->choices && o->choices[k]; k++)
            fprintf(out, "%s%s", k ? " " : "", o->choices[k]);
        fprintf(out, "%s' value=1 ;;\n", o->type == ARG_BOOL ? "true false" : "");
    }
    fputs("        esac ;;\n", out);
}

void completion_bash(const Command *commands)
{
    FILE *out = stdout;
    fputs("# Completion of vitro's command line for bash; made from its option tables.\n"
          "_vitro() {\n"
          "    local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD-1]}\n"
          "    local words= value=\n"
          "    COMPREPLY=()\n"
          "    [ \"$word\" = = ] && word=\n"
          "    [ \"$before\" = = ] && before=${COMP_WORDS[COMP_CWORD-2]}\n"
          "    if [ \"$COMP_CWORD\" -eq 1 ]; then\n"
          "        COMPREPLY=($(compgen -W '",
          out);
    for (const Command *c = commands; c->name; c++)
        fprintf(out, "%s ", c->name);
    fputs("--help --version' -- \"$word\"))\n"
          "        return\n"
          "    fi\n"
          "    case ${COMP_WORDS[1]} in\n",
          out);
    print_parts(commands, "bash");
    fputs("    esac\n"
          "    # Where nothing is offered, names of files are (complete -o default).\n"
          "    if [ -n \"$value\" ] || [ \"${word:0:1}\" = - ]; then\n"
          "        COMPREPLY=($(compgen -W \"$words\" -- \"$word\"))\n"
          "    fi\n"
          "}\n"
          "complete -o default -F _vitro vitro\n",
          out);
}

/* ---- zsh ------------------------------------------------------------------------------------- */

/* Text inside '...' and [...] of an _arguments specification. */
static void put_zsh(FILE *out, const char *text)
{
    for (; *text; text++) {
        if (*text == '\'')
            fputs("'\\''", out);
        else if (strchr("[]:\\", *text))
            fprintf(out, "\\%c", *text);
        else
            fputc(*text == '\n' ? ' ' : *text, out);
    }
}

void completion_zsh_command(const ArgSpec *spec, FILE *out)
{
    const ArgGroup *group;
    const ArgOption *o;
    fprintf(out, "    (%s)\n        _arguments \\\n", spec->command);
    for (int i = 0; (o = args_option(spec, i, &group)) != NULL; i++) {
        fprintf(out, "            '--%s[", o->name);
        put_zsh(out, o->help);
        fputc(']', out);
        if (o->type != ARG_FLAG) {
            fputc(':', out);
            put_zsh(out, args_metavar(o));
            fputc(':', out);
        }
        if (o->choices) {
            for (int k = 0; o->choices[k]; k++)
                fprintf(out, "%s%s", k ? " " : "(", o->choices[k]);
            fputc(')', out);
        } else if (o->type == ARG_BOOL) {
            fputs("(true false)", out);
        } else if (o->type == ARG_TEXT) {
            fputs("_files", out);
        }
        fputs("' \\\n", out);
    }
    fprintf(out, "            '--help[list the options]'%s\n        ;;\n",
            spec->operand ? " '*:operand:_files'" : "");
}

void completion_zsh(const Command *commands)
{
    FILE *out = stdout;
    fputs("#compdef vitro\n"
          "# Completion of vitro's command line for zsh; made from its option tables.\n"
          "_vitro() {\n"
          "    local -a commands=(\n",
          out);
    for (const Command *c = commands; c->name; c++) {
        fprintf(out, "        '%s:", c->name);
        put_zsh(out, c->summary);
        fputs("'\n", out);
    }
    fputs("    )\n"
          "    local state line curcontext=$curcontext\n"
          "    _arguments -C '1: :->command' '*:: :->options'\n"
          "    if [[ $state == command ]]; then\n"
          "        _describe -t commands command commands\n"
          "        return\n"
          "    fi\n"
          "    case $words[1] in\n",
          out);
    print_parts(commands, "zsh");
    fputs("    esac\n"
          "}\n"
          "_vitro \"$@\"\n",
          out);
}
