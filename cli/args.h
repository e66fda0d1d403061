/* SPDX-License-Identifier: Apache-2.0 */
/* Command lines from tables. A row of a table is an option: its name, its type, where its value is
 * stored, its default, its range, its help. The parser, the help text and the list of settings in
 * force all come from the rows, so they cannot disagree.
 *
 *     typedef struct MyArgs { int epochs; const char *out; bool json; } MyArgs;
 *     static const ArgOption my_options[] = {
 *         {.name = "epochs", .type = ARG_INT, .at = offsetof(MyArgs, epochs), .def = "20",
 *          .min = 1, .max = INT_MAX, .help = "passes over the training data"},
 *         {.name = "out", .type = ARG_TEXT, .at = offsetof(MyArgs, out), .metavar = "FILE",
 *          .help = "where the result goes"},
 *         {.name = "json", .type = ARG_FLAG, .at = offsetof(MyArgs, json), .help = "..."},
 *     };
 *     MyArgs my = {0};
 *     ArgSpec spec = {.command = "my", .usage = "[options] IMAGE...", .about = "Does it.",
 *                     .max_operands = ARG_ANY_NUMBER, .operand = "IMAGE",
 *                     .groups = {{"Mine", my_options, ARG_COUNT(my_options), &my}}};
 *     Args args;
 *     int status = args_parse(&args, &spec, argc, argv);
 *     if (status != ARGS_RUN)
 *         return status;
 *
 * The rules: '-' and '_' in an option's name mean the same; `--name value` and `--name=value`;
 * booleans are true|false|1|0|yes|no; lists are comma-separated; the last of a repeated option
 * wins; "--" ends the options; anything else that is wrong is reported and is CLI_USAGE. */
#ifndef VITRO_CLI_ARGS_H
#define VITRO_CLI_ARGS_H

#include "cli.h"

#include <stdio.h>

typedef enum ArgType {
    ARG_FLAG,   /* bool: `--json`, or `--json=false`; a next argument true|false|yes|no is taken */
    ARG_BOOL,   /* bool, with a value */
    ARG_INT,    /* int */
    ARG_INT64,  /* int64_t */
    ARG_REAL,   /* double */
    ARG_SIZE,   /* ArgSize: `384`, or `384x512`, height before width; the range is of each side */
    ARG_TEXT,   /* const char *, borrowed from argv */
    ARG_CHOICE, /* int: index in `choices` */
    ARG_INTS,   /* ArgInts */
    ARG_REALS,  /* ArgReals */
    ARG_CHOICES /* ArgChoices */
} ArgType;

typedef struct ArgSize {
    int height, width; /* pixels */
} ArgSize;

#define ARG_LIST_MAX 16
typedef struct ArgInts {
    int count; /* 0: not given */
    int64_t value[ARG_LIST_MAX];
} ArgInts;
typedef struct ArgReals {
    int count;
    double value[ARG_LIST_MAX];
} ArgReals;
typedef struct ArgChoices {
    int count;
    int value[ARG_LIST_MAX]; /* indices in `choices` */
} ArgChoices;

enum {
    ARG_ABOVE_MIN = 1,   /* `min` itself is out of range */
    ARG_BELOW_MAX = 2,   /* `max` itself is out of range */
    ARG_MAY_BE_EMPTY = 4 /* ARG_TEXT: "" is a value */
};

typedef struct ArgOption {
    const char *name; /* without the dashes: "batch-size" */
    ArgType type;
    size_t at;       /* offset of the value in the group's struct */
    const char *def; /* the default, parsed as a given value would be; NULL: the struct's own */
    const char *def_help; /* the default in words, where it is not a constant */
    const char *metavar;  /* "FILE"; NULL: by type */
    double min, max;      /* numbers: the range, always stated; +-INFINITY is no limit */
    int flags;
    const char *const *choices; /* ends with NULL */
    const char *help;
} ArgOption;

#define ARG_COUNT(table) ((int)(sizeof(table) / sizeof((table)[0])))

typedef struct ArgGroup {
    const char *title;
    const ArgOption *options;
    int count;
    void *base; /* the struct that `at` counts from */
} ArgGroup;

#define ARG_GROUPS_MAX  8
#define ARG_OPTIONS_MAX 128
#define ARG_ANY_NUMBER  INT32_MAX

typedef struct ArgSpec {
    const char *command; /* "predict" */
    const char *usage;   /* what follows "vitro predict " */
    const char *about;   /* some lines, wrapped by hand at 80 columns */
    const char *operand; /* what an operand is called: "IMAGE"; NULL where none is taken */
    int min_operands, max_operands;
    ArgGroup groups[ARG_GROUPS_MAX]; /* ends with an empty one */
} ArgSpec;

typedef struct Args {
    const ArgSpec *spec;         /* borrowed */
    bool given[ARG_OPTIONS_MAX]; /* by position in the groups, read through args_given() */
    const char *const *operands; /* in order; owned, see args_deinit */
    int operand_count;
} Args;

#define ARGS_RUN (-1)

/* Fills the groups' structs: defaults first, then what argv says. argv[0] is the command's name.
 * Returns ARGS_RUN to go on, CLI_OK after --help (printed), CLI_USAGE after an error (printed). */
int args_parse(Args *args, const ArgSpec *spec, int argc, char **argv);
void args_deinit(Args *args);

/* Whether the command line stated this option; the name must be one of the table. */
bool args_given(const Args *args, const char *name);

/* The option's value in its own syntax, exactly: what args_set reads back is the same. Free it. */
char *args_text(const Args *args, const char *name);
/* As if the command line had stated it; false: `text` is no value of the option. Of ARG_TEXT the
 * text is borrowed. */
bool args_set(Args *args, const char *name, const char *text);

/* Writes "name=value, name=value, ..." of every option as the structs hold it now. */
void args_print(const Args *args, FILE *out);

/* Prints the help text that --help prints. */
void args_help(const ArgSpec *spec, FILE *out);

/* Of the words that end with NULL the one nearest to `word`, or NULL where none is near. */
const char *args_nearest(const char *word, const char *const *words);

#endif
