#include "team.h"

#if defined(__x86_64__)
#include <immintrin.h>
#define IDL_PAUSE() _mm_pause()
#elif defined(__aarch64__)
#define IDL_PAUSE() asm volatile("isb" ::: "memory")
#else
#define IDL_PAUSE() std::this_thread::yield()
#endif

namespace idl {

Team::Team(int threads) : n_(threads < 1 ? 1 : threads), slots_(new Slot[RING]) {
  for (int t = 1; t < n_; t++) threads_.emplace_back([this, t] { loop(t); });
}

Team::~Team() {
  stop_.store(true);
  epoch_.fetch_add(1);
  epoch_.notify_all();
  for (auto& t : threads_) t.join();
  delete[] slots_;
}

int Team::claim(Range& range, bool back) {
  uint64_t left = range.left.load(std::memory_order_relaxed);
  for (;;) {
    const uint32_t next = (uint32_t)left, end = (uint32_t)(left >> 32);
    if (next >= end) return -1;
    const uint64_t rest = back ? ((uint64_t)(end - 1) << 32 | next) : ((uint64_t)end << 32 | (next + 1));
    if (range.left.compare_exchange_weak(left, rest, std::memory_order_acq_rel, std::memory_order_relaxed))
      return (int)(back ? end - 1 : next);
  }
}

void Team::work(Slot& slot, int thread) {
  for (int op = 0; op < slot.ops; op++) {
    if (op > 0) {  // all tasks of the operation before must be done, whoever does them
      slot.job->soon(op, thread, n_);
      std::atomic<int32_t>& before = slot.done[op - 1].tasks;
      const int32_t want = slot.tasks[op - 1];
      for (int spin = 0; before.load(std::memory_order_acquire) < want; spin++) {
        if (spin < 2000) IDL_PAUSE();
        else std::this_thread::yield();
      }
    }
    if (slot.done[op].tasks.load(std::memory_order_relaxed) >= slot.tasks[op]) continue;
    bool entered = false;
    for (int i = 0; i < n_; i++) {
      Range& range = slot.ranges[(size_t)op * n_ + (thread + i) % n_];
      for (int task; (task = claim(range, i > 0)) >= 0;) {
        if (!entered) slot.job->enter(op, thread);
        entered = true;
        slot.job->run(op, task, thread);
        slot.done[op].tasks.fetch_add(1, std::memory_order_release);
      }
    }
  }
}

void Team::loop(int thread) {
  uint32_t seen = 0;
  for (;;) {
    int spin = 0;
    while (epoch_.load(std::memory_order_acquire) == seen) {
      if (++spin < 6000) IDL_PAUSE();
      else epoch_.wait(seen);
    }
    if (stop_.load()) return;
    // Join the newest step; older ones are over or will be finished by those inside them.
    uint32_t now = epoch_.load(std::memory_order_acquire);
    Slot& slot = slots_[now % RING];
    slot.inside.fetch_add(1);
    if (epoch_.load() - now < RING - 1 && !slot.over.load()) work(slot, thread);  // the slot is still this step's
    slot.inside.fetch_sub(1, std::memory_order_acq_rel);
    seen = now;
  }
}

void Team::quiesce() {
  for (int i = 0; i < RING; i++)
    while (slots_[i].inside.load() > 0) std::this_thread::yield();
}

void Team::start(Job* job) {
  const uint32_t next = epoch_.load() + 1;
  Slot& slot = slots_[next % RING];
  while (slot.inside.load() > 0) std::this_thread::yield();
  slot.job = job;
  slot.ops = job->ops();
  if ((int)slot.done.size() < slot.ops) {  // nobody is inside, and nobody gets in before the epoch is this step's
    slot.tasks = std::vector<int32_t>(slot.ops);
    slot.done = std::vector<Done>(slot.ops);
    slot.ranges = std::vector<Range>((size_t)slot.ops * n_);
  }
  for (int i = 0; i < slot.ops; i++) {
    const int64_t n = slot.tasks[i] = job->tasks(i);
    slot.done[i].tasks.store(0, std::memory_order_relaxed);
    for (int t = 0; t < n_; t++)
      slot.ranges[(size_t)i * n_ + t].left.store((uint64_t)(n * (t + 1) / n_) << 32 | (uint64_t)(n * t / n_), std::memory_order_relaxed);
  }
  slot.over.store(false);
  epoch_.store(next);
  if (n_ > 1) epoch_.notify_all();
  begun_ = &slot;
}

void Team::finish() {
  if (!begun_) return;
  Slot& slot = *begun_;
  begun_ = nullptr;
  work(slot, 0);
  const int last = slot.ops - 1;
  if (last >= 0)
    for (int spin = 0; slot.done[last].tasks.load(std::memory_order_acquire) < slot.tasks[last]; spin++) {
      if (spin < 2000) IDL_PAUSE();
      else std::this_thread::yield();
    }
  slot.over.store(true);
}

}  // namespace idl
