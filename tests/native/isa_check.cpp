// Compares the NEON kernels with the portable ones, where Python cannot run (under an emulator).
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <vector>

#include "api.h"
#include "kernels.h"

using namespace idl;

static uint32_t state = 12345;
static float noise() {
  state = state * 1664525u + 1013904223u;
  return (float)(state >> 8) / (1 << 24) * 2 - 1;
}

static int failures = 0;
static void same(const char* what, const std::vector<float>& a, const std::vector<float>& b) {
  float top = 1e-3f, off = 0;
  for (float x : a) top = std::fmax(top, std::fabs(x));
  for (size_t i = 0; i < a.size(); i++) off = std::fmax(off, std::fabs(a[i] - b[i]));
  const bool good = off <= 2e-5f * top;
  if (!good) failures++;
  std::printf("%-12s %s %g\n", what, good ? "ok" : "DIFFERS", off / top);
}

int main(int, char** argv) {
  const char* names[2] = {"portable", argv[1]};
  const Kernels* tables[2] = {kernels_portable(), nullptr};
  void* team = idl_team_new(2);
  const int n = 49, k = 96;
  std::vector<float> w(n * k), x(20 * k);
  std::vector<int32_t> rows(n);
  for (int i = 0; i < n; i++) rows[i] = i;
  for (float& v : w) v = noise();
  for (float& v : x) v = noise();
  for (int kind = 0; kind < KINDS; kind++) {
    std::vector<uint8_t> tiles(idl_packed_bytes(kind, n, k) + 64);
    uint8_t* base = tiles.data() + (64 - (uintptr_t)tiles.data() % 64);
    idl_pack(kind, 0, w.data(), k * 4, k, rows.data(), n, base);
    for (int m : {1, 2, 7, 8, 19}) {
      std::vector<float> y[2];
      for (int i = 0; i < 2; i++) {
        if (!idl_use_isa(names[i])) return std::printf("no %s here\n", names[i]), 2;
        y[i].resize(m * n);
        idl_matmul(team, kind, base, n, k, x.data(), m, y[i].data());
      }
      char what[32];
      std::snprintf(what, sizeof what, "kind %d m %d", kind, m);
      same(what, y[0], y[1]);
    }
  }
  tables[1] = kernels_neon();
  std::vector<float> v(k + 32), u(k + 32), got[2];
  for (float& a : v) a = noise() * 4;
  for (float& a : u) a = noise();
  auto both = [&](const char* what, auto run) {
    for (int i = 0; i < 2; i++) {
      got[i].assign(k, 0.0f);
      run(tables[i], got[i].data());
    }
    same(what, got[0], got[1]);
  };
  both("rmsnorm", [&](const Kernels* t, float* y) { t->rmsnorm(v.data(), u.data(), y, k, 1e-5f, 0); });
  both("layernorm", [&](const Kernels* t, float* y) { t->layernorm(v.data(), u.data(), u.data(), y, k, 1e-5f); });
  both("silu", [&](const Kernels* t, float* y) { t->silu(v.data(), y, k); });
  both("relu", [&](const Kernels* t, float* y) { t->relu(v.data(), y, k); });
  both("gelu", [&](const Kernels* t, float* y) { t->gelu(v.data(), y, k, 1); });
  // Attention of five tokens, three heads a group, over 37 positions in pages that lie in another order.
  const int dim = 48, group = 3, tokens = 5, total = 37;
  const int32_t table[3] = {2, 0, 1}, pos[tokens] = {32, 33, 34, 35, 36};
  std::vector<float> q(tokens * group * dim);
  for (float& a : q) a = noise();
  for (int window : {0, 9}) {
    std::vector<float> out[2];
    for (int i = 0; i < 2; i++) {
      std::vector<uint16_t> keys(3 * dim * 16), values(3 * dim * 16);
      state = 99;
      for (int t = 0; t < total; t++) {
        std::vector<float> row(dim);
        for (float& a : row) a = noise();
        tables[i]->store_k(keys.data() + table[t / 16] * dim * 16 + t % 16, 16, row.data(), dim);
        for (float& a : row) a = noise();
        tables[i]->store_v(values.data() + (table[t / 16] * 16 + t % 16) * dim, row.data(), dim);
      }
      out[i].assign(q.size(), 0.0f);
      std::vector<float> scratch(tokens * group * 64);
      AttendArgs a{};
      a.q = q.data(), a.q_stride = group * dim, a.out = out[i].data(), a.out_stride = group * dim;
      a.tokens = tokens, a.group = group, a.dim = dim, a.kv_heads = 1, a.head = 0;
      a.k = keys.data(), a.v = values.data(), a.table = table, a.page_size = 16, a.total = total, a.pos = pos;
      a.causal = 1, a.window = window, a.scale = 0.2f, a.scratch = scratch.data();
      tables[i]->attend(a);
    }
    same(window ? "window" : "attend", out[0], out[1]);
  }
  return failures != 0;
}
