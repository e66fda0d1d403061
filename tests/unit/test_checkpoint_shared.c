/* SPDX-License-Identifier: Apache-2.0 */
/* Weight files that people published, as PyTorch 1.13 reads them: how many tensors, and the sum of
 * all their elements in double. They are not part of the repository: skipped where absent. */
#include "base/alloc.h"
#include "base/fs.h"
#include "vitro/checkpoint.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

static const struct {
    const char *name;
    int64_t count;
    double sum;
    const char *error; /* where it must be refused: the end of the text */
} files[] = {
    {"original/brattany__vit_mnist.pt", 104, 809.3402452250716, NULL},
    {"original/mldems_mnist__vit_weights.pth", 34, 299.38239334601633, NULL},
    {"original/opprajwal__vision_transformer_mnist.pth", 56, 515.1792622535038, NULL},
    {"original/sachin__best_vit_cifar10.pth", 72, 930.9062586935027, NULL},
    {"original/shamail__best_vit.pth", 80, 1519.594199949388, NULL},
    {"variants/agentzz1__mnist_vit.pth", 19, 133.36985901986372, NULL},
    {"variants/gaurav__vit_mnist.pth", 74, 60.489424034453805, NULL},
    {"variants/kcoopman__vit.pt", 90, 65.76970733905364, NULL},
    {"variants/researchase__vit_mnist_3class.pt", 52, 459.0189911549255, NULL},
    {"variants/researchase__vit_mnist_gpu.pt", 74, 339.1180947638613, NULL},
    {"variants/smmk47__vit_cifar10.pth", 80, 1625.169274981069, NULL},
    {"variants/squarezhong__vision_transformer.pth", 82, 1650.8397888322697, NULL},
    {"variants/yhdev__plantvit_tomato.pth", 45, 3379.611503970876, NULL},
    {"timm-names/shamail_cifar10_vit.safetensors", 80, 1519.594199949388, NULL},
    {"variants/jennazhao7__pytorch_model.bin", 0, 0,
     "tensor \"vit.embeddings.cls_token\": has a shape but no elements: it was saved from the meta "
     "device"},
    {"variants/libaohang__vit_mnist.npz", 89, -35.105383335400006, NULL},
};

static const char *folder; /* .../weights */

static void check(size_t f)
{
    char *path = vitro_path_join(folder, files[f].name);
    VitroCheckpoint *ckpt = NULL;
    VitroStatus st = vitro_checkpoint_open(&ckpt, path);
    vitro_free(path);
    if (files[f].error) {
        assert_int_not_equal(st, VITRO_OK);
        assert_non_null(strstr(vitro_last_error(), files[f].error));
        return;
    }
    if (st != VITRO_OK)
        fail_msg("%s", vitro_last_error());
    double sum = 0;
    assert_int_equal(vitro_checkpoint_count(ckpt), files[f].count);
    for (int64_t i = 0; i < files[f].count; i++) {
        const VitroTensorInfo *info = vitro_checkpoint_info(ckpt, i);
        float *values = vitro_malloc((size_t)info->count * sizeof(float));
        assert_int_equal(vitro_checkpoint_read_f32(ckpt, i, values), VITRO_OK);
        for (int64_t k = 0; k < info->count; k++)
            sum += values[k];
        vitro_free(values);
    }
    vitro_checkpoint_close(ckpt);
    if (!(fabs(sum - files[f].sum) < 1e-8 * fabs(sum)))
        fail_msg("%s: sum %.17g, expected %.17g", files[f].name, sum, files[f].sum);
}

static void test_published_files(void **state)
{
    (void)state;
    for (size_t f = 0; f < sizeof(files) / sizeof(files[0]); f++)
        check(f);
}

int main(void)
{
    const char *shared = getenv("VITRO_SHARED");
    char *path = vitro_path_join(shared ? shared : "../shared", "weights");
    if (!path || !vitro_fs_is_dir(path)) {
        printf("skipped: no published weight files at %s (set VITRO_SHARED)\n", path ? path : "?");
        vitro_free(path);
        return 77;
    }
    folder = path;
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_published_files)};
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    vitro_free(path);
    return failed;
}
