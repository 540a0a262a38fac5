// CUDA's words on a host, so that a generated kernel runs as C++: the threads of a block take turns.
//
// Without barriers a thread runs to its end. With them each thread has a stack of its own and gives way at every
// barrier; the next round begins when all threads of the block have come that far. Rounds run in turn forwards and
// backwards, and shared memory begins as garbage, so that what CUDA leaves open does not look right by chance. What C++
// leaves undefined (overflow, shifts, conversions, alignment) is reported by the compiler's sanitizer.
#include <math.h>
#include <string.h>
#include <ucontext.h>

#undef INFINITY
#define __global__
#define __device__ static inline
#define __shared__
#define __align__(n) __attribute__((aligned(n)))

struct float2 {
  float x, y;
};
struct double2 {
  double x, y;
};
static inline float2 make_float2(float x, float y) { return {x, y}; }
static inline double2 make_double2(double x, double y) { return {x, y}; }
static inline int __popc(unsigned x) { return __builtin_popcount(x); }
static inline int __popcll(unsigned long long x) { return __builtin_popcountll(x); }
static inline float __int_as_float(int x) {
  float y;
  memcpy(&y, &x, sizeof y);
  return y;
}

struct place {
  unsigned x, y;
};
static place threadIdx, blockIdx, blockDim, gridDim;

static int undefined;  // how often the sanitizer has found something
extern "C" void __ubsan_on_report() { ++undefined; }

namespace host {
const int MOST = 256, STACK = 1 << 16, SHARED = 49152;
typedef void (*body)(void** pointers, const void* packed);

static ucontext_t scheduler, threads[MOST];
static char stacks[MOST][STACK];
static bool finished[MOST];
static int running;
static struct {
  body run;
  void** pointers;
  const void* packed;
} now;

static void start() {
  now.run(now.pointers, now.packed);
  finished[running] = true;
}

static void select(int thread) {
  running = thread;
  threadIdx = {thread % blockDim.x, thread / blockDim.x};
}

// Returns 1 where one thread ended while another waited at a barrier.
static int run_rounds(int count) {
  for (int t = 0; t < count; ++t) {
    finished[t] = false;
    getcontext(&threads[t]);
    threads[t].uc_stack.ss_sp = stacks[t];
    threads[t].uc_stack.ss_size = STACK;
    threads[t].uc_link = &scheduler;
    makecontext(&threads[t], start, 0);
  }
  for (int round = 0, left = count; left; ++round) {
    for (int n = 0; n < count; ++n) {
      const int t = round % 2 ? count - 1 - n : n;
      select(t);
      swapcontext(&scheduler, &threads[t]);
      left -= finished[t];
    }
    if (left && left != count) return 1;
  }
  return 0;
}

static int launch(body run, void** pointers, const void* packed, const unsigned* grid, char* shared) {
  gridDim = {grid[0], grid[1]};
  blockDim = {grid[2], grid[3]};
  now = {run, pointers, packed};
  const int count = blockDim.x * blockDim.y;
  const int before = undefined;
  if (count > MOST) return 2;
  for (blockIdx.y = 0; blockIdx.y < gridDim.y; ++blockIdx.y)
    for (blockIdx.x = 0; blockIdx.x < gridDim.x; ++blockIdx.x) {
      if (shared) {
        memset(shared, 0xff, SHARED);
        if (run_rounds(count)) return 1;
      } else {
        for (int t = 0; t < count; ++t) {
          select(t);
          run(pointers, packed);
        }
      }
    }
  return undefined == before ? 0 : 3;
}
}  // namespace host

static void __syncthreads() { swapcontext(&host::threads[host::running], &host::scheduler); }
