/* SPDX-License-Identifier: Apache-2.0 */
/* What args.c (parsing), args_value.c (one value) and args_help.c (texts) share. */
#ifndef VITRO_CLI_ARGS_INT_H
#define VITRO_CLI_ARGS_INT_H

#include "args.h"

/* The i-th option over all groups, and its group; NULL after the last. */
const ArgOption *args_option(const ArgSpec *spec, int i, const ArgGroup **group);

/* What the option's value is called in texts: "FILE", "N"; "" for a flag. */
const char *args_metavar(const ArgOption *option);

/* Reads `text` into the option's place in `base`. False: it is no such value, nothing changed. */
bool args_value_set(const ArgOption *option, void *base, const char *text);

/* "a whole number from 1 to 8", "true or false", "one of sgd, adamw". */
void args_value_expected(const ArgOption *option, char *out, size_t size);

/* "1 to 8", "at least 1", or "" where there is no limit. */
void args_value_range(const ArgOption *option, char *out, size_t size);

/* The value in `base` in the option's own syntax, reals with so many digits. */
#define ARG_SHOWN_DIGITS 10
#define ARG_EXACT_DIGITS 17
void args_value_print(const ArgOption *option, const void *base, int digits, FILE *out);

#endif
