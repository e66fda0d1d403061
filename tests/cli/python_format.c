/* SPDX-License-Identifier: Apache-2.0 */
/* python_format FILE: every line holds a number in hexadecimal and Python's '{:.3}' of it;
 * format_python_3 must agree. */
#include "report.h"

#include <stdlib.h>
#include <string.h>

int main(int argc, char **argv)
{
    FILE *f = argc == 2 ? fopen(argv[1], "r") : NULL;
    char number[64], expected[64], found[PYTHON_FORMAT_BYTES];
    int lines = 0, wrong = 0;
    if (!f) {
        fprintf(stderr, "usage: python_format FILE\n");
        return 2;
    }
    for (; fscanf(f, "%63s %63s", number, expected) == 2; lines++) {
        format_python_3(found, strtod(number, NULL));
        if (strcmp(found, expected) != 0) {
            printf("%s: found %s, expected %s\n", number, found, expected);
            wrong++;
        }
    }
    fclose(f);
    printf("%d numbers, %d wrong\n", lines, wrong);
    return lines == 0 || wrong > 0;
}
