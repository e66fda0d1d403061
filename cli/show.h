/* SPDX-License-Identifier: Apache-2.0 */
/* Pictures in the terminal: which way this one can show them, and how large. */
#ifndef VITRO_CLI_SHOW_H
#define VITRO_CLI_SHOW_H

#include "cli.h"

/* The choices of --show-as: SHOW_AUTO, else the method + 1. */
extern const char *const show_names[];
enum { SHOW_AUTO = 0 };

typedef struct Show {
    bool on; /* false: nothing is shown */
    VitroShowMethod method;
    int max_width, max_height; /* pixels, as vitro_show counts them */
} Show;

/* `as` is a choice of `show_names`. Where standard output is no terminal, or one that shows no
 * pictures, a line on stderr says so and `on` is false. */
void show_open(Show *s, int as);

/* Whether letters in a picture can be read: not where its pixels are half a character each. */
bool show_is_fine(const Show *s);

int show_picture(const Show *s, const VitroImage *picture);

#endif
