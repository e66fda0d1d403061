/* SPDX-License-Identifier: Apache-2.0 */
/* The cpu back end in bf16 and int8, on every CPU mask that makes a difference here. Operands of
 * bf16 hold numbers that bf16 has, so that products differ from those in double by the rounding of
 * sums alone; attention's probabilities and all bytes are rounded on the way, and the limits are
 * what that costs. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "backend/backend.h"
#include "base/cpu.h"
#include "base/rng.h"
#include "tensor/dtype.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { M_MAX = 70, K_MAX = 260, N_MAX = 150 };

static VitroDevice *dev;
static VitroRng rng;

static void ok(VitroStatus st)
{
    if (st != VITRO_OK)
        fail_msg("%s", vitro_last_error());
}

static float round_to_bf16(float x)
{
    return vitro_f32_from_bf16(vitro_bf16_from_f32(x));
}

/* `count` random numbers that bf16 has, as float32 and as bf16. */
static void draw(float *wide, uint16_t *narrow, int64_t count, double scale)
{
    for (int64_t i = 0; i < count; i++) {
        double two[2];
        vitro_rng_normal2(&rng, two);
        wide[i] = round_to_bf16((float)(two[0] * scale));
        if (narrow)
            narrow[i] = vitro_bf16_from_f32(wide[i]);
    }
}

/* got[i] of dtype F32 or BF16 against want, the error being of the largest element. */
static void check(const char *what, const void *got, VitroDtype dtype, const double *want,
                  int64_t n, double limit)
{
    double largest = 0;
    for (int64_t i = 0; i < n; i++)
        largest = fmax(largest, fabs(want[i]));
    /* a bf16 result is off by half a unit of its own last place besides */
    for (int64_t i = 0; i < n; i++) {
        const double x = dtype == VITRO_BF16 ? vitro_f32_from_bf16(((const uint16_t *)got)[i])
                                             : ((const float *)got)[i];
        const double own = dtype == VITRO_BF16 ? fabs(want[i]) * 0x1p-8 : 0;
        if (!(fabs(x - want[i]) <= limit * largest + own))
            fail_msg("%s on %s: element %d is %.8g, expected %.8g: off by %.2e of %.3g, limit %.1e",
                     what, vitro_device_describe(dev), (int)i, x, want[i],
                     fabs(x - want[i]) / largest, largest, limit);
    }
}

static double gelu(double x)
{
    return x * 0.5 * (1 + erf(x / sqrt(2)));
}

static double gelu_slope(double x)
{
    return 0.5 * (1 + erf(x / sqrt(2))) + x * exp(-x * x / 2) / sqrt(2 * 3.14159265358979323846);
}

/* ---- linear ------------------------------------------------------------------------------------
 */

static float x_wide[M_MAX * K_MAX], w[N_MAX * K_MAX], b[N_MAX], dy_wide[M_MAX * N_MAX];
static uint16_t x[M_MAX * K_MAX], dy[M_MAX * N_MAX], pre[M_MAX * K_MAX];
static float pre_wide[M_MAX * K_MAX], y32[M_MAX * N_MAX], grad[N_MAX * K_MAX], grad_b[N_MAX];
static uint16_t y16[M_MAX * N_MAX], y_pre[M_MAX * N_MAX];
static double want[M_MAX * K_MAX + N_MAX * K_MAX], want_pre[M_MAX * N_MAX], want_b[N_MAX];

static void forward(int64_t M, int64_t K, int64_t N, bool prepared)
{
    const VitroTensor X = vitro_tensor2(x, VITRO_BF16, M, K);
    VitroWeight weight = {.w = vitro_tensor2(w, VITRO_F32, N, K),
                          .b = vitro_tensor1(b, VITRO_F32, N)};
    for (int64_t m = 0; m < M; m++)
        for (int64_t n = 0; n < N; n++) {
            double sum = b[n];
            for (int64_t k = 0; k < K; k++)
                sum += (double)x_wide[m * K + k] * w[n * K + k];
            want_pre[m * N + n] = sum;
            want[m * N + n] = gelu(sum);
        }
    if (prepared)
        ok(dev->ops->weight_prepare(dev, &weight, M));
    VitroEpilogue e = {.rows_per_sample = 1};
    ok(dev->ops->linear(dev, vitro_tensor2(y32, VITRO_F32, M, N), X, &weight, &e));
    check("linear", y32, VITRO_F32, want_pre, M * N, 2e-6);
    e.act = VITRO_ACT_GELU;
    e.pre = vitro_tensor2(y_pre, VITRO_BF16, M, N);
    ok(dev->ops->linear(dev, vitro_tensor2(y16, VITRO_BF16, M, N), X, &weight, &e));
    check("linear, pre", y_pre, VITRO_BF16, want_pre, M * N, 2e-6);
    check("linear, gelu", y16, VITRO_BF16, want, M * N, 3e-4);
    dev->ops->weight_release(dev, &weight);
}

static void backward(int64_t M, int64_t K, int64_t N)
{
    const VitroWeight weight = {.w = vitro_tensor2(w, VITRO_F32, N, K)};
    VitroWeight to = {.w = vitro_tensor2(grad, VITRO_F32, N, K),
                      .b = vitro_tensor1(grad_b, VITRO_F32, N)};
    const VitroEpilogue through = {
        .act = VITRO_ACT_GELU, .pre = vitro_tensor2(pre, VITRO_BF16, M, K), .rows_per_sample = 1};
    static float dx[M_MAX * K_MAX];
    static uint16_t dx16[M_MAX * K_MAX];
    const VitroTensor DY = vitro_tensor2(dy, VITRO_BF16, M, N),
                      X = vitro_tensor2(x, VITRO_BF16, M, K);
    for (int64_t n = 0; n < N; n++) {
        grad_b[n] = 1;
        want_b[n] = 1;
        for (int64_t m = 0; m < M; m++)
            want_b[n] += dy_wide[m * N + n];
        for (int64_t k = 0; k < K; k++) {
            grad[n * K + k] = 0.5f;
            want[n * K + k] = 0.5;
            for (int64_t m = 0; m < M; m++)
                want[n * K + k] += (double)dy_wide[m * N + n] * x_wide[m * K + k];
        }
    }
    ok(dev->ops->linear_backward(dev, vitro_tensor2(dx, VITRO_F32, M, K), &to, DY, X, &weight,
                                 NULL));
    check("dw", grad, VITRO_F32, want, N * K, 2e-6);
    check("db", grad_b, VITRO_F32, want_b, N, 2e-6);
    for (int64_t m = 0; m < M; m++)
        for (int64_t k = 0; k < K; k++) {
            want[m * K + k] = 0;
            for (int64_t n = 0; n < N; n++)
                want[m * K + k] += (double)dy_wide[m * N + n] * w[n * K + k];
        }
    check("dx", dx, VITRO_F32, want, M * K, 2e-6);
    ok(dev->ops->linear_backward(dev, vitro_tensor2(dx16, VITRO_BF16, M, K), NULL, DY, X, &weight,
                                 &through));
    for (int64_t i = 0; i < M * K; i++)
        want[i] *= gelu_slope(pre_wide[i]);
    check("dx through gelu", dx16, VITRO_BF16, want, M * K, 3e-4);
}

static void linear_cases(void)
{
    static const int64_t shapes[][3] = {{1, 1, 1},    {2, 3, 5},     {7, 16, 64},   {33, 31, 65},
                                        {40, 64, 96}, {64, 257, 17}, {70, 260, 150}};
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        const int64_t M = shapes[i][0], K = shapes[i][1], N = shapes[i][2];
        draw(x_wide, x, M * K, 1);
        draw(pre_wide, pre, M * K, 1.5);
        draw(w, NULL, N * K, 1 / sqrt((double)K));
        draw(b, NULL, N, 0.5);
        draw(dy_wide, dy, M * N, 1);
        forward(M, K, N, i % 2);
        backward(M, K, N);
    }
}

/* ---- attention ---------------------------------------------------------------------------------
 */

enum { B = 2, T = 53, H = 2, DH = 48, D = H * DH };

static float qkv_wide[B * T * 3 * D], dctx_wide[B * T * D];
static uint16_t qkv[B * T * 3 * D], dctx[B * T * D], ctx[B * T * D], dqkv[B * T * 3 * D];
static float lse[B * H * T];
static double want_ctx[B * T * D], want_dqkv[B * T * 3 * D];

static double q_of(int which, int b_, int t, int h, int d)
{
    return qkv_wide[(b_ * T + t) * 3 * D + which * D + h * DH + d];
}

static void attention_of_head(int b_, int h, double scale)
{
    static double p[T][T], dp[T][T];
    for (int i = 0; i < T; i++) {
        double sum = 0, delta = 0;
        for (int j = 0; j < T; j++) {
            double s = 0;
            dp[i][j] = 0;
            for (int d = 0; d < DH; d++) {
                s += q_of(0, b_, i, h, d) * q_of(1, b_, j, h, d);
                dp[i][j] += dctx_wide[(b_ * T + i) * D + h * DH + d] * q_of(2, b_, j, h, d);
            }
            p[i][j] = exp(scale * s);
            sum += p[i][j];
        }
        for (int j = 0; j < T; j++) {
            p[i][j] /= sum;
            delta += p[i][j] * dp[i][j];
        }
        for (int j = 0; j < T; j++)
            dp[i][j] = p[i][j] * (dp[i][j] - delta) * scale;
    }
    for (int t = 0; t < T; t++)
        for (int d = 0; d < DH; d++) {
            double c = 0, dq = 0, dk = 0, dv = 0;
            for (int j = 0; j < T; j++) {
                c += p[t][j] * q_of(2, b_, j, h, d);
                dq += dp[t][j] * q_of(1, b_, j, h, d);
                dk += dp[j][t] * q_of(0, b_, j, h, d);
                dv += p[j][t] * dctx_wide[(b_ * T + j) * D + h * DH + d];
            }
            want_ctx[(b_ * T + t) * D + h * DH + d] = c;
            double *to = want_dqkv + (b_ * T + t) * 3 * D + h * DH + d;
            to[0] = dq, to[D] = dk, to[2 * D] = dv;
        }
}

static void attention_cases(void)
{
    const VitroAttentionShape shape = {.heads = H, .scale = 1 / sqrt((double)DH)};
    const VitroTensor QKV = vitro_tensor3(qkv, VITRO_BF16, B, T, 3 * D);
    const VitroTensor CTX = vitro_tensor3(ctx, VITRO_BF16, B, T, D);
    const VitroTensor LSE = vitro_tensor3(lse, VITRO_F32, B, H, T);
    draw(qkv_wide, qkv, B * T * 3 * D, 1.5);
    draw(dctx_wide, dctx, B * T * D, 1);
    for (int i = 0; i < B * H; i++)
        attention_of_head(i / H, i % H, shape.scale);
    ok(dev->ops->attention(dev, CTX, LSE, QKV, &shape));
    check("attention", ctx, VITRO_BF16, want_ctx, B * T * D, 4e-3);
    ok(dev->ops->attention_backward(dev, vitro_tensor3(dqkv, VITRO_BF16, B, T, 3 * D),
                                    vitro_tensor3(dctx, VITRO_BF16, B, T, D), QKV, CTX, LSE,
                                    &shape));
    check("attention_backward", dqkv, VITRO_BF16, want_dqkv, B * T * 3 * D, 8e-3);
}

/* ---- bytes -------------------------------------------------------------------------------------
 */

/* The share of the error in the size of the result, as a whole: rounding to 255 steps of each row
 * and 127 of each column costs about a percent of a normal distribution. */
static void bytes_case(int64_t M, int64_t K, int64_t N, bool wide)
{
    VitroWeight weight = {
        .w = vitro_tensor2(w, VITRO_F32, N, K), .b = vitro_tensor1(b, VITRO_F32, N), .wide = wide};
    const VitroEpilogue e = {.rows_per_sample = 1};
    double size = 0, error = 0;
    ok(dev->ops->weight_prepare(dev, &weight, M));
    ok(dev->ops->linear(dev, vitro_tensor2(y32, VITRO_F32, M, N),
                        vitro_tensor2(x, VITRO_BF16, M, K), &weight, &e));
    for (int64_t m = 0; m < M; m++)
        for (int64_t n = 0; n < N; n++) {
            double sum = 0;
            for (int64_t k = 0; k < K; k++)
                sum += (double)x_wide[m * K + k] * w[n * K + k];
            size += sum * sum;
            error += pow(y32[m * N + n] - sum - b[n], 2);
        }
    const double ratio = sqrt(error / size);
    if (!(ratio < (wide ? 1e-5 : 0.02)))
        fail_msg("bytes %dx%dx%d on %s: off by %.2e", (int)M, (int)K, (int)N,
                 vitro_device_describe(dev), ratio);
    if (!wide)
        assert_true(ratio > 1e-5); /* bytes were multiplied, and not something wider */
    dev->ops->weight_release(dev, &weight);
}

static void bytes_cases(void)
{
    static const int64_t shapes[][3] = {{7, 16, 64}, {33, 31, 65}, {70, 260, 150}, {1, 257, 9}};
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        const int64_t M = shapes[i][0], K = shapes[i][1], N = shapes[i][2];
        draw(x_wide, x, M * K, 1);
        draw(w, NULL, N * K, 1 / sqrt((double)K));
        draw(b, NULL, N, 0.5);
        for (int64_t m = 0; m < M; m++) /* one-sided rows, as behind GELU, use the whole range */
            for (int64_t k = 0; k < K && m % 2; k++) {
                x_wide[m * K + k] = fabsf(x_wide[m * K + k]);
                x[m * K + k] = vitro_bf16_from_f32(x_wide[m * K + k]);
            }
        bytes_case(M, K, N, false);
        bytes_case(M, K, N, true);
    }
}

/* ---- which -------------------------------------------------------------------------------------
 */

static void on_every_mask(VitroPrecision precision, void (*cases)(void))
{
    const unsigned masks[] = {0, 0x41, 0xc3, 0xc7, 0x2cf, ~0u}; /* AVX2 or NEON; ever more */
    unsigned last = ~0u;
    for (size_t i = 0; i < sizeof masks / sizeof *masks; i++) {
        vitro_cpu_set_mask(masks[i]);
        if (i && vitro_cpu_flags() == last)
            continue;
        last = vitro_cpu_flags();
        ok(vitro_device_open(
            &dev, &(VitroDeviceOptions){.name = "cpu", .threads = 2, .precision = precision}));
        printf("%s, CPU mask 0x%x\n", vitro_device_describe(dev), masks[i]);
        rng = vitro_rng(3, VITRO_RNG_INIT, 0, 0);
        cases();
        vitro_device_close(dev);
    }
    vitro_cpu_set_mask(~0u);
}

static void test_linear_bf16(void **state)
{
    (void)state;
    on_every_mask(VITRO_PRECISION_BF16, linear_cases);
}

static void test_attention_bf16(void **state)
{
    (void)state;
    on_every_mask(VITRO_PRECISION_BF16, attention_cases);
}

static void test_linear_int8(void **state)
{
    (void)state;
    on_every_mask(VITRO_PRECISION_INT8, bytes_cases);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_linear_bf16),
                                       cmocka_unit_test(test_attention_bf16),
                                       cmocka_unit_test(test_linear_int8)};
    return cmocka_run_group_tests_name("ops/narrow", tests, NULL, NULL);
}
