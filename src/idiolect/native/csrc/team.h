// A persistent thread team that runs a list of operations, each cut into small tasks that threads claim one by one.
//
// There is no barrier that waits for threads: operation i + 1 begins when all *tasks* of operation i are done. Each
// thread begins with a range of neighbouring tasks of its own, front to back, so that it reads weights as one stream;
// when its range is empty it takes from the back of the others'. So a thread that the operating system took away costs
// its share and no more; it finds everything claimed when it comes back.
// Idle threads spin for a moment (a decode step follows another within microseconds), then sleep on a futex.
#pragma once
#include <atomic>
#include <cstdint>
#include <thread>
#include <vector>

namespace idl {

constexpr int MAX_OPS = 4096;
constexpr int RING = 8;  // steps that a sleeping thread may lag behind before anybody waits for it

struct alignas(64) Range {  // tasks [next, end) that nobody has claimed: one word, next in its low half
  std::atomic<uint64_t> left{0};
};

struct alignas(64) Done {
  std::atomic<int32_t> tasks{0};
};

struct Job {  // what a step is, seen by the team
  virtual int ops() const = 0;
  virtual int tasks(int op) const = 0;
  virtual void soon(int op, int thread, int threads) = 0;  // while waiting for the operation before
  virtual void enter(int op, int thread) = 0;  // before the first claim of an operation (private, repeatable work)
  virtual void run(int op, int task, int thread) = 0;
  virtual ~Job() = default;
};

class Team {
 public:
  explicit Team(int threads);
  ~Team();
  void start(Job* job);  // the other threads begin
  void finish();         // the caller joins them, and returns when all tasks are done
  void run(Job* job) {
    start(job);
    finish();
  }
  void quiesce();  // wait until no thread is inside a step, so that its job may be freed
  int threads() const { return n_; }

 private:
  struct Slot {
    std::atomic<int> inside{0};
    std::atomic<bool> over{true};  // a thread that comes in later must not look at the job: it may be gone
    Job* job = nullptr;
    int ops = 0;
    std::vector<int32_t> tasks;
    std::vector<Range> ranges;  // of operation i and thread t: [i * threads + t]
    std::vector<Done> done;
  };
  static int claim(Range& range, bool back);  // a task, or -1
  void work(Slot& slot, int thread);
  void loop(int thread);
  int n_;
  Slot* slots_;
  Slot* begun_ = nullptr;  // by `start`, until `finish`
  std::atomic<uint32_t> epoch_{0};
  std::atomic<bool> stop_{false};
  std::vector<std::thread> threads_;
};

}  // namespace idl
