/* SPDX-License-Identifier: Apache-2.0 */
/* Copies from the host's memory to the device's that run while the device computes.
 *
 * What is to be uploaded is cut into pieces. Each goes into a slot: pinned memory, from where the
 * copy engine takes it, on a stream of its own, to device memory of the slot's; and from there, in
 * the turn of the stream that computes, to where it belongs. So a batch travels while the step
 * before it is computed, and nobody waits. A slot is free when its last copy is done; where none
 * is, one more is made, up to SLOTS. */
#include "backend/cuda/cuda_int.h"

#include "base/alloc.h"

#include <assert.h>
#include <string.h>

enum {
    PIECE = 16 << 20, /* bytes */
    SLOTS = 32,
    SMALL = 32 << 10 /* so little travels with the command itself, from any memory */
};

typedef struct Slot {
    uint8_t *host, *device;
    cudaEvent_t arrived; /* in `device` */
    cudaEvent_t done;    /* nothing of the slot is needed any more */
} Slot;

struct VitroCudaStaging {
    cudaStream_t stream;
    int count, next; /* slots that there are; the one whose turn it is */
    Slot slot[SLOTS];
    /* the one copy that is on its way to the host */
    uint8_t *back; /* pinned, of so many bytes */
    size_t back_bytes;
    cudaEvent_t is_back;
};

static void free_slot(Slot *s)
{
    if (s->arrived)
        (void)cudaEventDestroy(s->arrived);
    if (s->done)
        (void)cudaEventDestroy(s->done);
    if (s->host)
        (void)cudaFreeHost(s->host);
    if (s->device)
        (void)cudaFree(s->device);
    *s = (Slot){0};
}

static VitroStatus make_slot(Slot *s)
{
    VITRO_CUDA_TRY(cudaHostAlloc((void **)&s->host, PIECE, cudaHostAllocDefault));
    VITRO_CUDA_TRY(cudaMalloc((void **)&s->device, PIECE));
    VITRO_CUDA_TRY(cudaEventCreateWithFlags(&s->arrived, cudaEventDisableTiming));
    VITRO_CUDA_TRY(cudaEventCreateWithFlags(&s->done, cudaEventDisableTiming));
    return VITRO_OK;
}

/* A slot that is free: the oldest, or a new one, or the oldest after a wait. */
static VitroStatus take_slot(Slot **out, VitroCudaStaging *s)
{
    if (s->count == 0 ||
        (s->count < SLOTS && cudaEventQuery(s->slot[s->next].done) != cudaSuccess)) {
        (void)cudaGetLastError(); /* "not ready" is no failure */
        Slot fresh = {0};
        if (make_slot(&fresh) == VITRO_OK) {
            /* it comes before those that are still under way */
            memmove(s->slot + s->next + 1, s->slot + s->next,
                    (size_t)(s->count - s->next) * sizeof(Slot));
            s->slot[s->next] = fresh;
            s->count++;
        } else {
            free_slot(&fresh);
            (void)cudaGetLastError();
        }
    }
    if (s->count == 0)
        return vitro_fail(VITRO_E_NOMEM, "CUDA: no memory for copies to the device");
    Slot *slot = &s->slot[s->next];
    VITRO_CUDA_TRY(cudaEventSynchronize(slot->done)); /* of a new one: at once */
    s->next = (s->next + 1) % s->count;
    *out = slot;
    return VITRO_OK;
}

VitroStatus vitro_cuda_staging_create(VitroCudaStaging **out)
{
    VitroCudaStaging *s = vitro_calloc(1, sizeof *s);
    if (!s)
        return VITRO_NOMEM;
    VitroStatus st = vitro_cuda_check(cudaStreamCreateWithFlags(&s->stream, cudaStreamNonBlocking),
                                      "cudaStreamCreateWithFlags");
    if (st != VITRO_OK) {
        vitro_free(s);
        return st;
    }
    *out = s;
    return VITRO_OK;
}

void vitro_cuda_staging_free(VitroCudaStaging *s)
{
    if (!s)
        return;
    for (int i = 0; i < s->count; i++)
        free_slot(&s->slot[i]);
    if (s->is_back)
        (void)cudaEventDestroy(s->is_back);
    if (s->back)
        (void)cudaFreeHost(s->back);
    (void)cudaStreamDestroy(s->stream);
    vitro_free(s);
}

/* One thread alone would be slower than the bus. */
static void copy_to_pinned(uint8_t *to, const uint8_t *from, size_t bytes)
{
    enum { SHARE = 1 << 20, THREADS = 4 };
    const int64_t shares = (int64_t)((bytes + SHARE - 1) / SHARE);
#pragma omp parallel for num_threads(THREADS) if (shares > 1)
    for (int64_t i = 0; i < shares; i++) {
        const size_t at = (size_t)i * SHARE;
        memcpy(to + at, from + at, bytes - at < SHARE ? bytes - at : SHARE);
    }
}

VitroStatus vitro_cuda_staging_upload(VitroCudaStaging *s, cudaStream_t stream, void *dst,
                                      const void *src, size_t bytes)
{
    if (bytes <= SMALL)
        return bytes ? vitro_cuda_check(
                           cudaMemcpyAsync(dst, src, bytes, cudaMemcpyHostToDevice, stream),
                           "cudaMemcpyAsync")
                     : VITRO_OK;
    for (size_t at = 0; at < bytes; at += PIECE) {
        const size_t n = bytes - at < PIECE ? bytes - at : PIECE;
        Slot *slot;
        VITRO_TRY(take_slot(&slot, s));
        copy_to_pinned(slot->host, (const uint8_t *)src + at, n);
        VITRO_CUDA_TRY(
            cudaMemcpyAsync(slot->device, slot->host, n, cudaMemcpyHostToDevice, s->stream));
        VITRO_CUDA_TRY(cudaEventRecord(slot->arrived, s->stream));
        VITRO_CUDA_TRY(cudaStreamWaitEvent(stream, slot->arrived, 0));
        VITRO_CUDA_TRY(cudaMemcpyAsync((uint8_t *)dst + at, slot->device, n,
                                       cudaMemcpyDeviceToDevice, stream));
        VITRO_CUDA_TRY(cudaEventRecord(slot->done, stream));
    }
    return VITRO_OK;
}

/* ---- the other way ------------------------------------------------------------------------------
 */

static VitroStatus make_room(VitroCudaStaging *s, size_t bytes)
{
    if (!s->is_back)
        VITRO_CUDA_TRY(cudaEventCreateWithFlags(&s->is_back, cudaEventDisableTiming));
    if (s->back_bytes >= bytes)
        return VITRO_OK;
    VITRO_CUDA_TRY(cudaEventSynchronize(s->is_back));
    if (s->back)
        VITRO_CUDA_TRY(cudaFreeHost(s->back));
    s->back = NULL;
    s->back_bytes = 0;
    VITRO_CUDA_TRY(cudaHostAlloc((void **)&s->back, bytes, cudaHostAllocDefault));
    s->back_bytes = bytes;
    return VITRO_OK;
}

VitroStatus vitro_cuda_staging_download(VitroCudaStaging *s, cudaStream_t stream, const void *src,
                                        size_t bytes)
{
    VITRO_TRY(make_room(s, bytes));
    VITRO_CUDA_TRY(cudaMemcpyAsync(s->back, src, bytes, cudaMemcpyDeviceToHost, stream));
    VITRO_CUDA_TRY(cudaEventRecord(s->is_back, stream));
    return VITRO_OK;
}

VitroStatus vitro_cuda_staging_wait(VitroCudaStaging *s, void *dst, size_t bytes)
{
    assert(bytes <= s->back_bytes);
    VITRO_CUDA_TRY(cudaEventSynchronize(s->is_back));
    memcpy(dst, s->back, bytes);
    return VITRO_OK;
}
