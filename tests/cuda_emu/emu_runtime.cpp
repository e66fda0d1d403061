// SPDX-License-Identifier: Apache-2.0
// The CUDA runtime's functions, as far as the project calls them. A stream is a queue of work that
// is done when somebody waits for it, and not before; graphs are lists of such work, recorded with
// their arguments and done again at each launch.
#include "cuda_emu/emu_int.h"

#include <chrono>
#include <cstdlib>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

using Work = std::function<void()>;

struct CUgraph_st {
    std::vector<Work> work;
    cudaStreamCaptureMode mode = cudaStreamCaptureModeGlobal; // while it is being captured
    std::thread::id thread;
    bool valid = true;
};

struct CUgraphExec_st {
    std::vector<Work> work;
};

struct CUstream_st {
    std::deque<Work> queue;
    bool blocking = true;          // waits for the null stream, and that one for it
    bool busy = false;             // some of its work is being done
    CUgraph_st *capture = nullptr; // what is called goes there
    bool captures_itself = false;  // else another stream, through an event
};

struct CUevent_st {
    CUstream_st *stream = nullptr;
    uint64_t wanted = 0, reached = 0; // records so far, queued and done
    CUgraph_st *capture = nullptr;    // recorded while that was being captured
    std::chrono::steady_clock::time_point when;
};

namespace
{

enum { GUARD = 256, GUARD_BYTE = 0xA5 };
const size_t total_memory = (size_t)8 << 30;

std::recursive_mutex lock;
CUstream_st null_stream;
std::vector<CUstream_st *> streams{&null_stream};
std::map<char *, size_t> device_memory, pinned_memory;
std::map<const void *, int> shared_limit;
size_t used_memory;
thread_local cudaError_t last_error;

#define LOCKED std::lock_guard<std::recursive_mutex> guard(lock)

cudaError_t answer(cudaError_t error)
{
    if (error != cudaSuccess)
        last_error = error;
    return error;
}

CUstream_st *stream_of(cudaStream_t s)
{
    return s == nullptr || s == cudaStreamLegacy || s == cudaStreamPerThread ? &null_stream : s;
}

void drain(CUstream_st *s)
{
    if (s->busy)
        emu_fail("a stream waits for itself");
    s->busy = true;
    while (!s->queue.empty()) {
        Work work = std::move(s->queue.front());
        s->queue.pop_front();
        work();
    }
    s->busy = false;
}

void drain_until(CUevent_st *e, uint64_t wanted)
{
    while (e->reached < wanted) {
        if (e->stream->queue.empty())
            emu_fail("an event that nobody will reach");
        Work work = std::move(e->stream->queue.front());
        e->stream->queue.pop_front();
        work();
    }
}

void drain_all()
{
    for (CUstream_st *s : streams)
        if (!s->capture)
            drain(s);
}

// Calls that may wait for the device must not come while a stream is captured, but from other
// threads where the mode says so; the capture is spoilt then.
bool spoils_capture()
{
    bool spoilt = false;
    for (CUstream_st *s : streams)
        if (s->capture && s->capture->mode != cudaStreamCaptureModeRelaxed &&
            (s->capture->mode == cudaStreamCaptureModeGlobal ||
             s->capture->thread == std::this_thread::get_id())) {
            s->capture->valid = false;
            spoilt = true;
        }
    return spoilt;
}

#define UNLESS_CAPTURING                                                                           \
    if (spoils_capture())                                                                          \
    return answer(cudaErrorStreamCaptureUnsupported)

// What the null stream waits for.
void drain_blocking()
{
    for (CUstream_st *s : streams)
        if (s->blocking && !s->capture && !s->busy)
            drain(s);
}

// The region that holds p, or nothing.
std::map<char *, size_t>::iterator region_of(std::map<char *, size_t> &in, const void *p)
{
    auto at = in.upper_bound((char *)p);
    if (at == in.begin())
        return in.end();
    --at;
    return (char *)p < at->first + at->second ? at : in.end();
}

bool is_in(std::map<char *, size_t> &in, const void *p, size_t bytes)
{
    auto at = region_of(in, p);
    return at != in.end() && (char *)p + bytes <= at->first + at->second;
}

char *guarded(size_t bytes)
{
    char *block = (char *)aligned_alloc(256, (bytes + 2 * GUARD + 255) / 256 * 256);
    if (!block)
        return nullptr;
    memset(block, GUARD_BYTE, GUARD);
    memset(block + GUARD, 0xFF, bytes);
    memset(block + GUARD + bytes, GUARD_BYTE, GUARD);
    return block + GUARD;
}

void release(char *p, size_t bytes)
{
    for (int i = 0; i < GUARD; i++)
        if ((unsigned char)p[-1 - i] != GUARD_BYTE || (unsigned char)p[bytes + i] != GUARD_BYTE)
            emu_fail("memory around an allocation of %zu bytes was written", bytes);
    free(p - GUARD);
}

// What a copy's ends must be.
void check_copy(const void *dst, const void *src, size_t bytes, cudaMemcpyKind kind)
{
    const bool to = kind == cudaMemcpyHostToDevice || kind == cudaMemcpyDeviceToDevice;
    const bool from = kind == cudaMemcpyDeviceToHost || kind == cudaMemcpyDeviceToDevice;
    if (kind == cudaMemcpyDefault || !bytes)
        return;
    if (to != is_in(device_memory, dst, bytes))
        emu_fail("a copy of kind %d of %zu bytes to memory that is %s device's", (int)kind, bytes,
                 to ? "not the" : "the");
    if (from != is_in(device_memory, src, bytes))
        emu_fail("a copy of kind %d of %zu bytes from memory that is %s device's", (int)kind, bytes,
                 from ? "not the" : "the");
}

bool is_pageable(const void *p)
{
    return region_of(device_memory, p) == device_memory.end() &&
           region_of(pinned_memory, p) == pinned_memory.end();
}

} // namespace

void emu_enqueue(cudaStream_t stream, std::function<void()> work)
{
    LOCKED;
    CUstream_st *s = stream_of(stream);
    if (s->capture)
        s->capture->work.push_back(std::move(work));
    else
        s->queue.push_back(std::move(work));
    if (s == &null_stream)
        drain_blocking();
}

void emu_launch(EmuLaunch launch, cudaStream_t stream)
{
    LOCKED;
    const uint64_t threads = (uint64_t)launch.block.x * launch.block.y * launch.block.z;
    const auto limit = shared_limit.find(launch.kernel);
    const size_t most = limit == shared_limit.end() ? 49152 : (size_t)limit->second;
    if (threads < 1 || threads > 1024 || launch.grid.x < 1 || launch.grid.y < 1 ||
        launch.grid.z < 1 || launch.grid.x > 0x7fffffffu || launch.grid.y > 65535 ||
        launch.grid.z > 65535 || launch.shared > most) {
        last_error = cudaErrorInvalidConfiguration;
        return;
    }
    emu_enqueue(stream, [launch = std::move(launch)] { emu_run(launch); });
}

// ---- errors
// --------------------------------------------------------------------------------------

cudaError_t cudaGetLastError(void)
{
    const cudaError_t error = last_error;
    last_error = cudaSuccess;
    return error;
}

cudaError_t cudaPeekAtLastError(void)
{
    return last_error;
}

const char *cudaGetErrorName(cudaError_t error)
{
    return error == cudaErrorMemoryAllocation ? "cudaErrorMemoryAllocation" : "cudaErrorEmulated";
}

const char *cudaGetErrorString(cudaError_t error)
{
    switch (error) {
    case cudaSuccess:
        return "no error";
    case cudaErrorMemoryAllocation:
        return "out of memory";
    case cudaErrorInvalidConfiguration:
        return "invalid configuration argument";
    case cudaErrorInvalidValue:
        return "invalid argument";
    case cudaErrorInvalidDevice:
        return "invalid device ordinal";
    default:
        return "an error of the emulator";
    }
}

// ---- devices
// -------------------------------------------------------------------------------------

cudaError_t cudaGetDeviceCount(int *count)
{
    *count = 1;
    return cudaSuccess;
}

cudaError_t cudaSetDevice(int device)
{
    return answer(device == 0 ? cudaSuccess : cudaErrorInvalidDevice);
}

cudaError_t cudaGetDevice(int *device)
{
    *device = 0;
    return cudaSuccess;
}

cudaError_t cudaGetDeviceProperties(cudaDeviceProp *p, int device)
{
    if (device != 0)
        return answer(cudaErrorInvalidDevice);
    memset(p, 0, sizeof *p);
    snprintf(p->name, sizeof p->name, "emulated GPU");
    p->major = 9, p->minor = 0;
    p->multiProcessorCount = 4;
    p->totalGlobalMem = total_memory;
    p->sharedMemPerBlock = 49152;
    p->sharedMemPerBlockOptin = 232448;
    p->sharedMemPerMultiprocessor = 233472;
    p->maxThreadsPerBlock = 1024;
    p->maxThreadsPerMultiProcessor = 2048;
    p->regsPerBlock = p->regsPerMultiprocessor = 65536;
    p->warpSize = 32;
    p->l2CacheSize = 1 << 20;
    p->asyncEngineCount = 2;
    p->concurrentKernels = 1;
    p->unifiedAddressing = 1;
    return cudaSuccess;
}

cudaError_t cudaDeviceGetAttribute(int *value, cudaDeviceAttr attribute, int device)
{
    cudaDeviceProp p;
    if (cudaGetDeviceProperties(&p, device) != cudaSuccess)
        return cudaErrorInvalidDevice;
    switch (attribute) {
    case cudaDevAttrComputeCapabilityMajor:
        *value = p.major;
        return cudaSuccess;
    case cudaDevAttrComputeCapabilityMinor:
        *value = p.minor;
        return cudaSuccess;
    case cudaDevAttrMultiProcessorCount:
        *value = p.multiProcessorCount;
        return cudaSuccess;
    case cudaDevAttrMaxSharedMemoryPerBlockOptin:
        *value = (int)p.sharedMemPerBlockOptin;
        return cudaSuccess;
    case cudaDevAttrL2CacheSize:
        *value = p.l2CacheSize;
        return cudaSuccess;
    default:
        return answer(cudaErrorInvalidValue);
    }
}

cudaError_t cudaDriverGetVersion(int *version)
{
    *version = CUDART_VERSION;
    return cudaSuccess;
}

cudaError_t cudaRuntimeGetVersion(int *version)
{
    *version = CUDART_VERSION;
    return cudaSuccess;
}

cudaError_t cudaDeviceSynchronize(void)
{
    LOCKED;
    UNLESS_CAPTURING;
    drain_all();
    return cudaSuccess;
}

cudaError_t cudaDeviceReset(void)
{
    return cudaDeviceSynchronize();
}

cudaError_t cudaMemGetInfo(size_t *free_bytes, size_t *total)
{
    LOCKED;
    *total = total_memory;
    *free_bytes = total_memory - used_memory;
    return cudaSuccess;
}

// ---- memory
// --------------------------------------------------------------------------------------

cudaError_t cudaMalloc(void **out, size_t bytes)
{
    LOCKED;
    UNLESS_CAPTURING;
    *out = nullptr;
    if (!bytes)
        return cudaSuccess;
    char *p = bytes <= total_memory - used_memory ? guarded(bytes) : nullptr;
    if (!p)
        return answer(cudaErrorMemoryAllocation);
    used_memory += bytes;
    device_memory[p] = bytes;
    *out = p;
    return cudaSuccess;
}

cudaError_t cudaFree(void *p)
{
    LOCKED;
    if (!p)
        return cudaSuccess;
    UNLESS_CAPTURING;
    const auto at = device_memory.find((char *)p);
    if (at == device_memory.end())
        emu_fail("cudaFree of what cudaMalloc did not give");
    drain_all();
    used_memory -= at->second;
    release(at->first, at->second);
    device_memory.erase(at);
    return cudaSuccess;
}

cudaError_t cudaMallocAsync(void **out, size_t bytes, cudaStream_t)
{
    return cudaMalloc(out, bytes);
}

cudaError_t cudaFreeAsync(void *p, cudaStream_t)
{
    return cudaFree(p);
}

cudaError_t cudaHostAlloc(void **out, size_t bytes, unsigned)
{
    LOCKED;
    UNLESS_CAPTURING;
    char *p = guarded(bytes);
    if (!p)
        return answer(cudaErrorMemoryAllocation);
    pinned_memory[p] = bytes;
    *out = p;
    return cudaSuccess;
}

cudaError_t cudaMallocHost(void **out, size_t bytes)
{
    return cudaHostAlloc(out, bytes, 0);
}

cudaError_t cudaFreeHost(void *p)
{
    LOCKED;
    if (!p)
        return cudaSuccess;
    UNLESS_CAPTURING;
    const auto at = pinned_memory.find((char *)p);
    if (at == pinned_memory.end())
        emu_fail("cudaFreeHost of what cudaHostAlloc did not give");
    drain_all();
    release(at->first, at->second);
    pinned_memory.erase(at);
    return cudaSuccess;
}

// As CUDA does it: a copy between the device and pageable memory has read or written that memory
// when the call returns; pinned memory is touched when the stream gets there.
cudaError_t cudaMemcpyAsync(void *dst, const void *src, size_t bytes, cudaMemcpyKind kind,
                            cudaStream_t stream)
{
    LOCKED;
    CUstream_st *s = stream_of(stream);
    check_copy(dst, src, bytes, kind);
    if (!s->capture && is_pageable(src)) {
        auto held =
            std::make_shared<std::vector<char>>((const char *)src, (const char *)src + bytes);
        emu_enqueue(stream, [=] { memcpy(dst, held->data(), bytes); });
        return cudaSuccess;
    }
    emu_enqueue(stream, [=] { memmove(dst, src, bytes); });
    if (!s->capture && is_pageable(dst))
        drain(s);
    return cudaSuccess;
}

cudaError_t cudaMemcpy(void *dst, const void *src, size_t bytes, cudaMemcpyKind kind)
{
    LOCKED;
    UNLESS_CAPTURING;
    drain_blocking();
    check_copy(dst, src, bytes, kind);
    memmove(dst, src, bytes);
    return cudaSuccess;
}

cudaError_t cudaMemcpy2DAsync(void *dst, size_t dpitch, const void *src, size_t spitch,
                              size_t width, size_t height, cudaMemcpyKind kind, cudaStream_t stream)
{
    for (size_t i = 0; i < height; i++)
        cudaMemcpyAsync((char *)dst + i * dpitch, (const char *)src + i * spitch, width, kind,
                        stream);
    return cudaSuccess;
}

cudaError_t cudaMemsetAsync(void *p, int byte, size_t bytes, cudaStream_t stream)
{
    LOCKED;
    if (bytes && !is_in(device_memory, p, bytes))
        emu_fail("cudaMemset of %zu bytes that are not the device's", bytes);
    emu_enqueue(stream, [=] { memset(p, byte, bytes); });
    return cudaSuccess;
}

cudaError_t cudaMemset(void *p, int byte, size_t bytes)
{
    return cudaMemsetAsync(p, byte, bytes, nullptr);
}

// ---- streams and events
// --------------------------------------------------------------------------

cudaError_t cudaStreamCreateWithFlags(cudaStream_t *out, unsigned flags)
{
    LOCKED;
    *out = new CUstream_st;
    (*out)->blocking = !(flags & cudaStreamNonBlocking);
    streams.push_back(*out);
    return cudaSuccess;
}

cudaError_t cudaStreamCreate(cudaStream_t *out)
{
    return cudaStreamCreateWithFlags(out, 0);
}

cudaError_t cudaStreamCreateWithPriority(cudaStream_t *out, unsigned flags, int)
{
    return cudaStreamCreateWithFlags(out, flags);
}

cudaError_t cudaStreamDestroy(cudaStream_t s)
{
    LOCKED;
    drain_all();
    for (size_t i = 0; i < streams.size(); i++)
        if (streams[i] == s)
            streams.erase(streams.begin() + (long)i);
    delete s;
    return cudaSuccess;
}

cudaError_t cudaStreamSynchronize(cudaStream_t stream)
{
    LOCKED;
    CUstream_st *s = stream_of(stream);
    if (s->capture) {
        s->capture->valid = false;
        return answer(cudaErrorStreamCaptureUnsupported);
    }
    drain(s);
    return cudaSuccess;
}

cudaError_t cudaStreamQuery(cudaStream_t stream)
{
    LOCKED;
    CUstream_st *s = stream_of(stream);
    if (s->queue.empty())
        return cudaSuccess;
    Work work = std::move(s->queue.front()); // so that who polls gets there
    s->queue.pop_front();
    work();
    return cudaErrorNotReady;
}

cudaError_t cudaEventCreateWithFlags(cudaEvent_t *out, unsigned)
{
    *out = new CUevent_st;
    return cudaSuccess;
}

cudaError_t cudaEventCreate(cudaEvent_t *out)
{
    return cudaEventCreateWithFlags(out, 0);
}

cudaError_t cudaEventDestroy(cudaEvent_t e)
{
    LOCKED;
    drain_all();
    delete e;
    return cudaSuccess;
}

cudaError_t cudaEventRecord(cudaEvent_t e, cudaStream_t stream)
{
    LOCKED;
    CUstream_st *s = stream_of(stream);
    e->capture = s->capture;
    if (s->capture)
        return cudaSuccess;
    e->stream = s;
    const uint64_t number = ++e->wanted;
    s->queue.push_back([e, number] {
        e->reached = number;
        e->when = std::chrono::steady_clock::now();
    });
    return cudaSuccess;
}

cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t e, unsigned)
{
    LOCKED;
    CUstream_st *s = stream_of(stream);
    if (e->capture) { // a captured fork, or its end: one list serves, in the order of the calls
        if (s->capture && s->capture != e->capture)
            return answer(cudaErrorStreamCaptureIsolation);
        s->capture = e->capture;
        return cudaSuccess;
    }
    if (s->capture)
        return answer(cudaErrorStreamCaptureIsolation);
    const uint64_t wanted = e->wanted;
    if (e->stream != s && e->reached < wanted)
        s->queue.push_back([e, wanted] { drain_until(e, wanted); });
    return cudaSuccess;
}

cudaError_t cudaEventSynchronize(cudaEvent_t e)
{
    LOCKED;
    drain_until(e, e->wanted);
    return cudaSuccess;
}

cudaError_t cudaEventQuery(cudaEvent_t e)
{
    LOCKED;
    if (e->reached == e->wanted)
        return cudaSuccess;
    drain_until(e, e->wanted);
    return cudaErrorNotReady;
}

cudaError_t cudaEventElapsedTime(float *ms, cudaEvent_t from, cudaEvent_t to)
{
    LOCKED;
    if (from->reached < from->wanted || to->reached < to->wanted)
        return answer(cudaErrorNotReady);
    *ms = std::chrono::duration<float, std::milli>(to->when - from->when).count();
    return cudaSuccess;
}

cudaError_t cudaLaunchHostFunc(cudaStream_t stream, cudaHostFn_t function, void *data)
{
    LOCKED;
    emu_enqueue(stream, [=] { function(data); });
    return cudaSuccess;
}

// ---- graphs
// --------------------------------------------------------------------------------------

cudaError_t cudaStreamBeginCapture(cudaStream_t stream, cudaStreamCaptureMode mode)
{
    LOCKED;
    CUstream_st *s = stream_of(stream);
    if (s == &null_stream || s->capture)
        return answer(cudaErrorStreamCaptureUnsupported);
    s->capture = new CUgraph_st;
    s->capture->mode = mode;
    s->capture->thread = std::this_thread::get_id();
    s->captures_itself = true;
    return cudaSuccess;
}

cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t *out)
{
    LOCKED;
    CUstream_st *s = stream_of(stream);
    *out = nullptr;
    if (!s->capture || !s->captures_itself)
        return answer(cudaErrorStreamCaptureUnmatched);
    *out = s->capture;
    for (CUstream_st *other : streams)
        if (other->capture == *out)
            other->capture = nullptr;
    s->captures_itself = false;
    if (!(*out)->valid) {
        delete *out;
        *out = nullptr;
        return answer(cudaErrorStreamCaptureInvalidated);
    }
    return cudaSuccess;
}

cudaError_t cudaStreamIsCapturing(cudaStream_t stream, cudaStreamCaptureStatus *status)
{
    LOCKED;
    *status =
        stream_of(stream)->capture ? cudaStreamCaptureStatusActive : cudaStreamCaptureStatusNone;
    return cudaSuccess;
}

cudaError_t cudaGraphInstantiate(cudaGraphExec_t *out, cudaGraph_t graph, unsigned long long)
{
    *out = new CUgraphExec_st{graph->work};
    return cudaSuccess;
}

cudaError_t cudaGraphUpload(cudaGraphExec_t, cudaStream_t)
{
    return cudaSuccess;
}

cudaError_t cudaGraphLaunch(cudaGraphExec_t exec, cudaStream_t stream)
{
    LOCKED;
    for (const Work &work : exec->work)
        emu_enqueue(stream, work);
    return cudaSuccess;
}

cudaError_t cudaGraphDestroy(cudaGraph_t graph)
{
    delete graph;
    return cudaSuccess;
}

cudaError_t cudaGraphExecDestroy(cudaGraphExec_t exec)
{
    delete exec;
    return cudaSuccess;
}

// ---- kernels
// -------------------------------------------------------------------------------------

cudaError_t cudaFuncSetAttribute(const void *kernel, cudaFuncAttribute attribute, int value)
{
    LOCKED;
    if (attribute != cudaFuncAttributeMaxDynamicSharedMemorySize)
        return cudaSuccess;
    if (value < 0 || value > 232448)
        return answer(cudaErrorInvalidValue);
    shared_limit[kernel] = value < 49152 ? 49152 : value;
    return cudaSuccess;
}

cudaError_t cudaOccupancyMaxActiveBlocksPerMultiprocessor(int *blocks, const void *, int, size_t)
{
    *blocks = 1;
    return cudaSuccess;
}
