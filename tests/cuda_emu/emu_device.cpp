// SPDX-License-Identifier: Apache-2.0
// Blocks one after the other, their threads as fibers.
#include "cuda_emu/emu_int.h"
#include "cuda_emu/emu_ptx.h"

#include <cstdarg>
#include <cstdlib>
#include <sys/mman.h>
#include <vector>

#if !defined(__x86_64__)
#include <ucontext.h>
#endif

enum { MAX_THREADS = 1024, STACK = 256 * 1024, PAGE = 4096, GUARD = 256, GUARD_BYTE = 0xA5 };
enum { MAX_SHARED = 232448 }; // 227 KB: what a block may ask for on compute capability 9.0

EmuThread *emu_self;
uint3 emu_block_idx;
dim3 emu_block_dim, emu_grid_dim;

namespace
{

enum State { RUNNABLE, IN_WARP, IN_BLOCK, DONE };

// Where a fiber, or the scheduler, is when it does not run.
struct Place {
#if defined(__x86_64__)
    void *stack;
#else
    ucontext_t context;
#endif
};

// A copy under way, of the group that was open when it was asked for.
struct Copy {
    void *to;
    const void *from; // NULL: zeros
    int group;
};

struct Fiber : EmuThread {
    Place place;
    State state;
    std::vector<Copy> copies;
    int group; // that is open
};

} // namespace

struct EmuWarp {
    Fiber *lane[32];
    unsigned alive, runnable, arrived;
    EmuCollective kind;
    unsigned round;
    alignas(16) unsigned char slot[2][32 * EMU_SLOT];
};

namespace
{

struct Block {
    const EmuLaunch *launch;
    std::vector<Fiber> fibers;
    std::vector<EmuWarp> warps;
    unsigned char *stacks = nullptr;
    Place scheduler;
    bool reverse;
    int alive, arrived, sum, result;
    unsigned char *dynamic = nullptr; // MAX_SHARED bytes and a guard
} block;

// So that the section is never empty.
__attribute__((section("vitro_emu_shared"), aligned(16), used)) unsigned char first_shared[16];
extern "C" unsigned char __start_vitro_emu_shared[], __stop_vitro_emu_shared[];

#if defined(__x86_64__)
// Saves what a called function must keep, on the stack, and goes on where `to` was saved.
extern "C" void emu_switch(void **from, void *to);
asm(".text\n"
    ".type emu_switch, @function\n"
    "emu_switch:\n"
    "    push %rbp\n    push %rbx\n    push %r12\n    push %r13\n    push %r14\n    push %r15\n"
    "    mov %rsp, (%rdi)\n"
    "    mov %rsi, %rsp\n"
    "    pop %r15\n    pop %r14\n    pop %r13\n    pop %r12\n    pop %rbx\n    pop %rbp\n"
    "    ret\n"
    ".size emu_switch, .-emu_switch\n");

void go(Place *from, Place *to)
{
    emu_switch(&from->stack, to->stack);
}

void prepare(Place *place, unsigned char *stack, void (*start)())
{
    void **top = (void **)(stack + STACK) - 1; // a called function finds rsp + 8 aligned to 16
    *top = nullptr;                            // start does not return
    *--top = (void *)start;
    for (int i = 0; i < 6; i++)
        *--top = nullptr;
    place->stack = top;
}
#else
void go(Place *from, Place *to)
{
    swapcontext(&from->context, &to->context);
}

void prepare(Place *place, unsigned char *stack, void (*start)())
{
    getcontext(&place->context);
    place->context.uc_stack.ss_sp = stack;
    place->context.uc_stack.ss_size = STACK;
    makecontext(&place->context, start, 0);
}
#endif

int pick(unsigned bits)
{
    return block.reverse ? 31 - __builtin_clz(bits) : __builtin_ctz(bits);
}

// The running fiber has nothing to do: on to another of its warp, or to the scheduler.
void leave()
{
    Fiber *self = static_cast<Fiber *>(emu_self);
    EmuWarp *warp = self->warp;
    warp->runnable &= ~(1u << self->lane);
    if (!warp->runnable) {
        go(&self->place, &block.scheduler);
    } else {
        Fiber *next = warp->lane[pick(warp->runnable)];
        emu_self = next;
        go(&self->place, &next->place);
    }
    emu_self = self; // whoever came back set it already, but for the scheduler
}

void release_block()
{
    block.result = block.sum;
    block.sum = block.arrived = 0;
    for (Fiber &f : block.fibers)
        if (f.state == IN_BLOCK) {
            f.state = RUNNABLE;
            f.warp->runnable |= 1u << f.lane;
        }
}

void finish()
{
    Fiber *self = static_cast<Fiber *>(emu_self);
    if (!self->copies.empty())
        emu_fail("a thread returns before its copies came");
    self->state = DONE;
    self->warp->alive &= ~(1u << self->lane);
    if (self->warp->arrived)
        emu_fail("thread %u returns while lanes 0x%x of its warp wait for it", self->idx.x,
                 self->warp->arrived);
    block.alive--;
    if (block.alive && block.arrived == block.alive)
        release_block();
    leave();
    abort();
}

void start()
{
    block.launch->body();
    finish();
}

void make_stacks()
{
    void *p = mmap(nullptr, (size_t)MAX_THREADS * STACK, PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (p == MAP_FAILED)
        emu_fail("no memory for stacks");
    block.stacks = static_cast<unsigned char *>(p);
    for (int i = 0; i < MAX_THREADS; i++)
        mprotect(block.stacks + (size_t)i * STACK, PAGE, PROT_NONE);
    block.dynamic = static_cast<unsigned char *>(aligned_alloc(1024, MAX_SHARED + 1024));
}

void check_guard()
{
    for (int i = 0; i < GUARD; i++)
        if (block.dynamic[block.launch->shared + i] != GUARD_BYTE)
            emu_fail("byte %d behind the block's %zu bytes of shared memory was written", i,
                     block.launch->shared);
}

void run_block(unsigned threads)
{
    memset(__start_vitro_emu_shared, 0xFF,
           (size_t)(__stop_vitro_emu_shared - __start_vitro_emu_shared));
    memset(block.dynamic, 0xFF, block.launch->shared);
    memset(block.dynamic + block.launch->shared, GUARD_BYTE, GUARD);
    block.alive = (int)threads, block.arrived = block.sum = 0;
    for (unsigned i = 0; i < threads; i++) {
        Fiber *f = &block.fibers[i];
        f->idx.x = i % emu_block_dim.x;
        f->idx.y = i / emu_block_dim.x % emu_block_dim.y;
        f->idx.z = i / emu_block_dim.x / emu_block_dim.y;
        f->lane = (int)(i % 32);
        f->warp = &block.warps[i / 32];
        f->warp->lane[f->lane] = f;
        f->state = RUNNABLE;
        f->copies.clear();
        f->group = 0;
        prepare(&f->place, block.stacks + (size_t)i * STACK, start);
    }
    const int warps = (int)(threads + 31) / 32;
    for (int w = 0; w < warps; w++) {
        EmuWarp *warp = &block.warps[(size_t)w];
        const unsigned lanes = threads - 32u * (unsigned)w;
        warp->alive = warp->runnable = lanes >= 32 ? ~0u : (1u << lanes) - 1;
        warp->arrived = 0, warp->kind = EMU_NONE;
    }
    while (block.alive) {
        bool moved = false;
        for (int i = 0; i < warps; i++) {
            EmuWarp *warp = &block.warps[(size_t)(block.reverse ? warps - 1 - i : i)];
            if (!warp->runnable)
                continue;
            moved = true;
            Fiber *f = warp->lane[pick(warp->runnable)];
            emu_self = f;
            go(&block.scheduler, &f->place);
        }
        if (block.alive && !moved) {
            const Fiber *in_warp = nullptr, *in_block = nullptr;
            for (const Fiber &f : block.fibers) {
                in_warp = f.state == IN_WARP ? &f : in_warp;
                in_block = f.state == IN_BLOCK ? &f : in_block;
            }
            emu_self = nullptr;
            emu_fail("threads diverged: %d of %d wait at __syncthreads%s%s", block.arrived,
                     block.alive, in_warp ? ", others for their warp" : "",
                     in_block ? "" : ", none for the block");
        }
    }
    emu_self = nullptr;
    check_guard();
}

} // namespace

void emu_fail(const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    fflush(stdout);
    fprintf(stderr, "CUDA emulator: ");
    vfprintf(stderr, fmt, args);
    if (block.launch) {
        fprintf(stderr, " (kernel %s, block %u,%u,%u", block.launch->name, emu_block_idx.x,
                emu_block_idx.y, emu_block_idx.z);
        if (emu_self)
            fprintf(stderr, ", thread %u,%u,%u", emu_self->idx.x, emu_self->idx.y, emu_self->idx.z);
        fprintf(stderr, ")");
    }
    fprintf(stderr, "\n");
    va_end(args);
    abort();
}

void *emu_dynamic_shared(void)
{
    return block.dynamic;
}

const unsigned char *emu_exchange(EmuCollective kind, unsigned mask, const void *mine, size_t bytes)
{
    Fiber *self = static_cast<Fiber *>(emu_self);
    EmuWarp *warp = self->warp;
    if (mask != ~0u || warp->alive != ~0u)
        emu_fail("a collective of lanes 0x%x in a warp whose lanes are 0x%x: the emulator knows "
                 "whole warps alone",
                 mask, warp->alive);
    if (warp->arrived && warp->kind != kind)
        emu_fail("lanes of a warp meet in different collectives: %d and %d", (int)warp->kind,
                 (int)kind);
    unsigned char *slot = warp->slot[warp->round & 1];
    memcpy(slot + self->lane * EMU_SLOT, mine, bytes);
    warp->kind = kind;
    warp->arrived |= 1u << self->lane;
    if (warp->arrived == ~0u) {
        warp->arrived = 0;
        warp->round++;
        warp->runnable = ~0u;
        for (Fiber *f : warp->lane)
            f->state = RUNNABLE;
    } else {
        self->state = IN_WARP;
        leave();
    }
    return slot;
}

int emu_block_barrier(int value)
{
    Fiber *self = static_cast<Fiber *>(emu_self);
    block.sum += value;
    block.arrived++;
    self->state = IN_BLOCK;
    if (block.arrived == block.alive)
        release_block();
    else
        leave();
    return block.result;
}

void emu_copy16(void *shared, const void *global, bool exists)
{
    Fiber *self = static_cast<Fiber *>(emu_self);
    if ((uintptr_t)shared % 16 || (exists && (uintptr_t)global % 16))
        emu_fail("cp.async: an address is not aligned to 16 bytes");
    memset(shared, 0xFF, 16);
    self->copies.push_back({shared, exists ? global : nullptr, self->group});
}

void emu_copy_commit(void)
{
    static_cast<Fiber *>(emu_self)->group++;
}

void emu_copy_wait(int left)
{
    Fiber *self = static_cast<Fiber *>(emu_self);
    size_t done = 0;
    for (; done < self->copies.size() && self->copies[done].group < self->group - left; done++) {
        const Copy &c = self->copies[done];
        if (c.from)
            memcpy(c.to, c.from, 16);
        else
            memset(c.to, 0, 16);
    }
    self->copies.erase(self->copies.begin(), self->copies.begin() + (long)done);
}

void emu_run(const EmuLaunch &launch)
{
    static unsigned count;
    const unsigned threads = launch.block.x * launch.block.y * launch.block.z;
    if (!block.stacks)
        make_stacks();
    if (block.fibers.size() != threads) {
        block.fibers.assign(threads, Fiber());
        block.warps.assign((threads + 31) / 32, EmuWarp());
    }
    block.launch = &launch;
    emu_block_dim = launch.block, emu_grid_dim = launch.grid;
    for (unsigned z = 0; z < launch.grid.z; z++)
        for (unsigned y = 0; y < launch.grid.y; y++)
            for (unsigned x = 0; x < launch.grid.x; x++) {
                emu_block_idx.x = x, emu_block_idx.y = y, emu_block_idx.z = z;
                block.reverse = count++ & 1;
                run_block(threads);
            }
    block.launch = nullptr;
}
