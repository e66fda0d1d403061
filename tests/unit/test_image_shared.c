/* SPDX-License-Identifier: Apache-2.0 */
/* Photographs and Pillow's odd pictures, which are not part of this repository, against Pillow 9.4:
 * found through VITRO_SHARED, skipped where they are absent. */
#include "harness/image_table.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

int main(void)
{
    const char *root = getenv("VITRO_SHARED");
    root = root && *root ? root : "../shared";
    char path[1024];
    struct stat s;
    snprintf(path, sizeof(path), "%s/images/pillow_odd", root);
    if (stat(path, &s) != 0) {
        printf("skipped: no pictures in %s (set VITRO_SHARED)\n", path);
        return 77;
    }
    int wrong, right = image_table_check("tests/golden/image/shared.txt", root, &wrong);
    printf("%d pictures equal Pillow's, %d do not\n", right, wrong);
    return wrong || right < 150;
}
