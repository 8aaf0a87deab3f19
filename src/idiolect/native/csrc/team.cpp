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

void Team::work(Slot& slot, int thread) {
  for (int op = 0; op < slot.ops; op++) {
    if (op > 0) {  // all tasks of the operation before must be done, whoever does them
      Counter& before = slot.counters[op - 1];
      const int32_t want = slot.tasks[op - 1];
      for (int spin = 0; before.done.load(std::memory_order_acquire) < want; spin++) {
        if (spin < 2000) IDL_PAUSE();
        else std::this_thread::yield();
      }
    }
    Counter& counter = slot.counters[op];
    const int32_t n = slot.tasks[op];
    if (counter.claimed.load(std::memory_order_relaxed) >= n) continue;
    slot.job->enter(op, thread);
    for (;;) {
      const int32_t task = counter.claimed.fetch_add(1, std::memory_order_acq_rel);
      if (task >= n) break;
      slot.job->run(op, task, thread);
      counter.done.fetch_add(1, std::memory_order_release);
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
    if (epoch_.load() - now < RING - 1) work(slot, thread);  // the slot is still this step's
    slot.inside.fetch_sub(1, std::memory_order_acq_rel);
    seen = now;
  }
}

void Team::quiesce() {
  for (int i = 0; i < RING; i++)
    while (slots_[i].inside.load() > 0) std::this_thread::yield();
}

void Team::run(Job* job) {
  const uint32_t next = epoch_.load() + 1;
  Slot& slot = slots_[next % RING];
  while (slot.inside.load() > 0) std::this_thread::yield();
  slot.job = job;
  slot.ops = job->ops();
  for (int i = 0; i < slot.ops; i++) {
    slot.tasks[i] = job->tasks(i);
    slot.counters[i].claimed.store(0, std::memory_order_relaxed);
    slot.counters[i].done.store(0, std::memory_order_relaxed);
  }
  epoch_.store(next);
  if (n_ > 1) epoch_.notify_all();
  work(slot, 0);
  const int last = slot.ops - 1;
  if (last >= 0)
    for (int spin = 0; slot.counters[last].done.load(std::memory_order_acquire) < slot.tasks[last]; spin++) {
      if (spin < 2000) IDL_PAUSE();
      else std::this_thread::yield();
    }
}

}  // namespace idl
