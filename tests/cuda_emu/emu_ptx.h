/* SPDX-License-Identifier: Apache-2.0 */
/* src/backend/cuda/mma.cuh without PTX: each lane shows the others its operands, and takes what the
 * PTX manual says is its share of the result ("Matrix fragments for mma.m16n8k16"). */
#ifndef VITRO_TESTS_CUDA_EMU_PTX_H
#define VITRO_TESTS_CUDA_EMU_PTX_H

#include "cuda_emu/emu.h"

/* Of the running thread: copies come when they are waited for. */
void emu_copy16(void *shared, const void *global, bool exists);
void emu_copy_commit(void);
void emu_copy_wait(int left);

static inline uint16_t emu_half(uint32_t word, int high)
{
    return (uint16_t)(high ? word >> 16 : word);
}

static inline float emu_bf16(uint16_t bits)
{
    return __uint_as_float((uint32_t)bits << 16);
}

static inline const uint16_t *emu_row(const unsigned char *all, int lane)
{
    const uint16_t *row;
    memcpy(&row, all + lane * EMU_SLOT, sizeof row);
    if ((uintptr_t)row % 16 != 0)
        emu_fail("ldmatrix: the row of lane %d is not aligned to 16 bytes", lane);
    return row;
}

static inline void vitro_ldmatrix(uint32_t r[4], const void *row)
{
    const unsigned char *all = emu_exchange(EMU_LDMATRIX, ~0u, &row, sizeof row);
    const int lane = emu_self->lane, at = 2 * (lane % 4);
    for (int m = 0; m < 4; m++) {
        const uint16_t *from = emu_row(all, 8 * m + lane / 4);
        r[m] = from[at] | (uint32_t)from[at + 1] << 16;
    }
}

static inline void vitro_ldmatrix_turned(uint32_t r[4], const void *row)
{
    const unsigned char *all = emu_exchange(EMU_LDMATRIX, ~0u, &row, sizeof row);
    const int lane = emu_self->lane, at = 2 * (lane % 4);
    for (int m = 0; m < 4; m++)
        r[m] = emu_row(all, 8 * m + at)[lane / 4] | (uint32_t)emu_row(all, 8 * m + at + 1)[lane / 4]
                                                        << 16;
}

struct EmuOperands {
    uint32_t a[4], b[2];
};

/* a[row][col] and b[row][col] of the warp's operands, whoever holds them. */
static inline float emu_a(const unsigned char *all, int row, int col)
{
    const int lane = row % 8 * 4 + col % 8 / 2;
    const EmuOperands *o = (const EmuOperands *)(all + lane * EMU_SLOT);
    return emu_bf16(emu_half(o->a[row / 8 + 2 * (col / 8)], col % 2));
}

static inline float emu_b(const unsigned char *all, int row, int col)
{
    const int lane = col * 4 + row % 8 / 2;
    const EmuOperands *o = (const EmuOperands *)(all + lane * EMU_SLOT);
    return emu_bf16(emu_half(o->b[row / 8], row % 2));
}

static inline void vitro_mma(float d[4], const uint32_t a[4], uint32_t b0, uint32_t b1)
{
    const EmuOperands mine = {{a[0], a[1], a[2], a[3]}, {b0, b1}};
    const unsigned char *all = emu_exchange(EMU_MMA, ~0u, &mine, sizeof mine);
    const int row = emu_self->lane / 4, col = 2 * (emu_self->lane % 4);
    for (int k = 0; k < 16; k++) {
        const float low = emu_a(all, row, k), high = emu_a(all, row + 8, k);
        const float left = emu_b(all, k, col), right = emu_b(all, k, col + 1);
        d[0] += low * left, d[1] += low * right;
        d[2] += high * left, d[3] += high * right;
    }
}

static inline void vitro_copy16(void *shared, const void *global, bool exists)
{
    emu_copy16(shared, global, exists);
}

static inline void vitro_copy_commit(void)
{
    emu_copy_commit();
}

template <int LEFT> static inline void vitro_copy_wait(void)
{
    emu_copy_wait(LEFT);
}

static inline float vitro_exp2(float x)
{
    const float y = exp2f(x);
    return y < 1.17549435e-38f ? 0 : y;
}

#endif
