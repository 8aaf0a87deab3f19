// The machine's ceilings: bytes read from memory, and multiply-adds, per second of all threads together.
#include <algorithm>
#include <atomic>
#include <chrono>
#include <thread>
#include <vector>

#include "api.h"
#include "kernels.h"

using namespace idl;
using Clock = std::chrono::steady_clock;

static double seconds_since(Clock::time_point begin) {
  return std::chrono::duration<double>(Clock::now() - begin).count();
}

double idl_measure(int what, int threads, double seconds, const float* memory, int64_t bytes) {
  const Kernels* k = kernels_in_use();
  if (!k || threads < 1) return 0.0;
  const int64_t share = bytes / (int64_t)sizeof(float) / threads / 64 * 64;
  std::atomic<int> ready{0};
  std::vector<double> rates(threads, 0.0);
  std::vector<std::thread> team;
  for (int t = 0; t < threads; t++)
    team.emplace_back([&, t] {
      ready.fetch_add(1);
      while (ready.load() < threads) std::this_thread::yield();
      const Clock::time_point begin = Clock::now();
      double done = 0, passed = 0;
      volatile float kept = 0;
      do {
        if (what == 0) {
          kept = kept + k->read_all(memory + t * share, share);
          done += (double)share * sizeof(float);
        } else {
          done += (double)k->multiply_adds(what, 200000);
        }
        passed = seconds_since(begin);
      } while (passed < seconds);
      rates[t] = done / passed;
    });
  for (auto& t : team) t.join();
  double sum = 0;
  for (double rate : rates) sum += rate;
  return sum;
}
