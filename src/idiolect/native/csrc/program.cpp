// A recorded step: the list of operations, its buffers, and how each operation is cut into tasks.
#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <mutex>
#include <vector>

#if defined(__x86_64__)
#include <cpuid.h>
#endif

#include "api.h"
#include "kernels.h"
#include "random.h"
#include "team.h"

namespace idl {

static const Kernels* chosen = nullptr;

#if defined(__x86_64__)
// Asked of the processor itself: the compilers' own helper does not link into a shared library everywhere.
struct Processor {
  bool avx2 = false, avx2vnni = false, avx512 = false;
  Processor() {
    unsigned a, b, c, d;
    if (!__get_cpuid(1, &a, &b, &c, &d)) return;
    const bool saves = c >> 27 & 1, fma = c >> 12 & 1, f16c = c >> 29 & 1;
    if (!saves || !fma || !f16c || !__get_cpuid_count(7, 0, &a, &b, &c, &d)) return;
    unsigned low, high;
    asm volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));  // which registers the operating system keeps
    avx2 = (low & 6) == 6 && (b >> 5 & 1);
    avx512 = avx2 && (low & 0xe6) == 0xe6 && (b >> 16 & 1) && (b >> 17 & 1) && (b >> 30 & 1) && (b >> 31 & 1) && (c >> 11 & 1);
    avx2vnni = avx2 && __get_cpuid_count(7, 1, &a, &b, &c, &d) && (a >> 4 & 1);
  }
};
#endif

// What this library was built with and this processor has. The build defines IDL_HAVE_<instruction set>.
static const Kernels* by_name([[maybe_unused]] const char* name) {
#if defined(__x86_64__)
  [[maybe_unused]] static const Processor has;
#if defined(IDL_HAVE_AVX512)
  if (!std::strcmp(name, "avx512") && has.avx512) return kernels_avx512();
#endif
#if defined(IDL_HAVE_AVX2VNNI)
  if (!std::strcmp(name, "avx2vnni") && has.avx2vnni) return kernels_avx2vnni();
#endif
#if defined(IDL_HAVE_AVX2)
  if (!std::strcmp(name, "avx2") && has.avx2) return kernels_avx2();
#endif
#endif
#if defined(IDL_HAVE_NEON)
  if (!std::strcmp(name, "neon")) return kernels_neon();
#endif
#if defined(IDL_HAVE_PORTABLE)
  if (!std::strcmp(name, "portable")) return kernels_portable();
#endif
  return nullptr;
}

static const Kernels* kernels() {
  if (!chosen)
    for (const char* name : {"avx512", "avx2vnni", "avx2", "neon", "portable"})
      if ((chosen = by_name(name))) break;
  return chosen;
}

const Kernels* kernels_in_use() { return kernels(); }

template <class T>
struct Aligned {  // 64-byte aligned and padded, so that kernels may read sixteen floats past the end
  T* p = nullptr;
  size_t n = 0;
  explicit Aligned(size_t count = 0) : n(count) {
    if (count) {
      p = (T*)std::aligned_alloc(64, (count * sizeof(T) + 64 + 63) / 64 * 64);
      std::memset((void*)p, 0, (count * sizeof(T) + 64 + 63) / 64 * 64);
    }
  }
  Aligned(Aligned&& o) noexcept : p(o.p), n(o.n) { o.p = nullptr; }
  Aligned(const Aligned&) = delete;
  ~Aligned() { std::free(p); }
};

// Activations of up to max_rows rows, in blocks of eight rows, for one width.
struct Acts {
  Aligned<int32_t> a;  // int8 lanes, or floats for dense matrices
  Aligned<float> d, ds;
  Acts(int rows, int k) : a((size_t)(rows + 8) * ((k + 31) / 32) * 32), d((size_t)(rows + 8) * ((k + 31) / 32)), ds((size_t)(rows + 8) * ((k + 31) / 32) * 2) {}
};

constexpr int AHEAD_ROWS = 4, AHEAD_BYTES = 16384;  // few rows wait for weights, many for arithmetic
constexpr int FRESH_ROWS = 8;  // up to so many rows ask for weights ahead of time: more of them have other things to do
constexpr int QB = 8;  // query tokens of an attention task
constexpr int CHUNK = 64;  // rows of a task: small enough that the threads end together

struct Program : Job {
  Team* team;
  std::vector<idl_op> list;
  std::vector<int32_t> widths;
  std::vector<Aligned<float>> buffers;
  std::unique_ptr<Acts> shared;
  std::vector<std::unique_ptr<Acts>> privates;
  std::vector<Aligned<float>> rowbuf;    // per thread: one normed row block, tile outputs
  std::vector<Aligned<float>> scratch;   // per thread: attention scores
  std::vector<std::vector<double>> choosing;  // per thread: room to choose a token in
  std::vector<float> low;                // adapters: A x of every row for the product at work
  std::vector<std::vector<float>> lows;  // per thread, for steps of one row
  int max_rows, max_context, width = 0;
  idl_step step{};
  idl_cache cache{};
  std::vector<int32_t> blocks_before;  // query blocks before each segment
  const Kernels* kn;

  Program(Team* t, const idl_op* ops, int n, const int32_t* w, int nb, int rows, int context)
      : team(t), list(ops, ops + n), widths(w, w + nb), max_rows(rows), max_context(context), kn(kernels()) {
    int widest = 0, group = 1;
    for (auto& op : list) {
      if (op.kind == IDL_LINEAR || op.kind == IDL_PREP) widest = std::max(widest, op.k);
      if (op.kind == IDL_ATTEND) group = std::max(group, op.heads / op.kv_heads);
    }
    for (int i = 0; i < nb; i++) {
      buffers.emplace_back((size_t)rows * w[i]);
      width = std::max(width, w[i]);
    }
    widest = std::max(widest, 32);
    shared = std::make_unique<Acts>(rows, widest);
    lows.resize(team->threads());
    choosing.resize(team->threads());
    for (int i = 0; i < team->threads(); i++) {
      privates.push_back(std::make_unique<Acts>(1, widest));
      rowbuf.emplace_back((size_t)8 * (std::max(width, widest) + 32) + 512);
      scratch.emplace_back((size_t)QB * group * (context + 32));
    }
  }

  ~Program() override { team->quiesce(); }

  float* buf(int i, int64_t row = 0) { return buffers[i].p + row * widths[i]; }
  int rows_of(const idl_op& op) const { return op.rows ? step.wanted : step.n; }
  static int tiles(const idl_op& op) { return op.pair ? (op.n / 2 + 15) / 16 * 2 : (op.n + 15) / 16; }
  static bool dense(const idl_op& op) { return op.wkind >= BF16; }
  static int per_task(const idl_op& op, int m) {  // tiles a task takes: big enough to pay for a claim, small enough to share
    const int cost = m * ((op.k + 31) / 32);
    int t = cost >= 32 ? 2 : 4;
    return op.n >= 16384 ? t * 4 : t;
  }

  static int groups(const idl_op& op, int m) { return (tiles(op) + per_task(op, m) - 1) / per_task(op, m); }
  // A block of eight rows is no work for several threads: each then prepares some columns of it ...
  int parts(int m) const { return m > 8 * team->threads() ? 1 : 2; }
  // ... or takes fewer rows.
  int share(int m) const { return m > 8 * team->threads() ? 8 : m > 4 * team->threads() ? 4 : 2; }

  int ops() const override { return step.end - step.begin; }

  int tasks(int i) const override {
    const idl_op& op = list[step.begin + i];
    const int m = rows_of(op);
    if (m == 0) return 0;
    switch (op.kind) {
      case IDL_PREP: return m == 1 ? 0 : (m + 7) / 8 * parts(m);
      case IDL_LINEAR: return (m + CHUNK - 1) / CHUNK * groups(op, m);
      case IDL_ATTEND: return blocks_before[step.segments] * op.kv_heads;
      case IDL_ROPE: return (m + share(m) - 1) / share(m);
      case IDL_CHOOSE: return step.choices ? m : 0;
      default: return (m + 7) / 8;
    }
  }

  // What the adapter of a token does to operation `at`; null: nothing.
  const idl_delta* delta(int at, int row) const {
    const int adapter = step.adapters && !list[at].rows ? step.adapters[row] : -1;
    return adapter < 0 ? nullptr : step.deltas + (int64_t)adapter * list.size() + at;
  }

  void adapt(int at, int tile, int first, int mb, float* y, const float* low) {
    for (int r = 0; r < mb; r++, y += 16)
      if (const idl_delta* d = delta(at, first + r)) {
        if (d->rank) kn->low_rank(y, d->b + (int64_t)tile * d->rank * 16, low + (int64_t)(first + r) * step.ranks, d->rank);
        if (d->out) kn->multiply(y, d->out + tile * 16, 16);
      }
  }

  // Rows of input, normed when asked, quantised into `acts`; what adapters make of them into `low`. One of `of` parts
  // writes its share of the columns (and norms all of them: that is little beside quantising).
  void prepare(const idl_op& op, int first, int mb, Acts& acts, float* normed, float* low, int part = 0, int of = 1) {
    const float* x = buf(op.in, first);
    int64_t stride = widths[op.in];
    if (op.norm != IDL_NORM_NONE) {
      const int64_t ld = (op.k + 15) / 16 * 16;
      for (int m = 0; m < mb; m++) {
        if (op.norm == IDL_NORM_RMS) kn->rmsnorm(x + m * stride, op.a, normed + m * ld, op.k, op.eps, op.offset);
        else kn->layernorm(x + m * stride, op.a, op.b, normed + m * ld, op.k, op.eps);
      }
      x = normed;
      stride = ld;
    }
    if (step.adapters) {
      const int at = (int)(&op - list.data()) + 1;  // the product that follows
      for (int m = 0; m < mb; m++) {
        const idl_delta* d = delta(at, first + m);
        if (d && d->rank && part == 0) kn->dots(x + m * stride, d->a, d->rank, op.k, low + (int64_t)(first + m) * step.ranks);
        if (d && d->in) {
          if (x != normed) {
            const int64_t ld = (op.k + 15) / 16 * 16;
            for (int i = 0; i < mb; i++) std::memcpy(normed + i * ld, x + i * stride, sizeof(float) * op.k);
            x = normed;
            stride = ld;
          }
          kn->multiply(normed + m * stride, d->in, op.k);
        }
      }
    }
    const int64_t blocks = (op.k + 31) / 32;
    const int from = (int)(blocks * part / of), to = (int)(blocks * (part + 1) / of);
    int32_t* a = acts.a.p + first * blocks * (dense(op) ? 32 : 8);
    float *d = acts.d.p + first * blocks, *ds = acts.ds.p + first * blocks * (op.wkind == Q8H ? 2 : 1);
    if (dense(op)) kn->interleave(x, stride, mb, op.k, from, to, (float*)a);
    else (op.wkind == Q8H ? kn->quantize_half : kn->quantize)(x, stride, mb, op.k, from, to, a, d, ds);
  }

  // The beginning of a thread's share of the next matrix, while it has nothing else to do.
  void soon(int i, int thread, int threads) override {
    int at = step.begin + i;  // a thread that comes late may see the next step's numbers: it only must stay inside
    const int end = std::min<int>(step.end, (int)list.size());
    if (at >= end || list[at - 1].kind != IDL_LINEAR) return;
    while (at < end && list[at].kind != IDL_LINEAR) at++;
    if (at >= end) return;
    const idl_op& op = list[at];
    const int m = rows_of(op), per = per_task(op, m);
    if (m > AHEAD_ROWS) return;
    const int64_t n = (tiles(op) + per - 1) / per;
    const uint8_t* w = (const uint8_t*)op.w + n * thread / threads * per * ((op.k + 31) / 32) * cell_bytes(op.wkind);
    for (int line = 0; line < AHEAD_BYTES; line += 64) __builtin_prefetch(w + line, 0, 2);
  }

  void enter(int i, int thread) override {
    // With one row every thread prepares its own copy: cheaper than waiting for another to do it. A thread that comes
    // too late may read rows that have moved on; it then finds every task claimed and its copy unused.
    const int at = step.begin + i;
    const idl_op& op = list[at];
    if (op.kind == IDL_LINEAR && i > 0 && list[at - 1].kind == IDL_PREP && rows_of(op) == 1)
      prepare(list[at - 1], 0, 1, *privates[thread], rowbuf[thread].p, lows[thread].data());
  }

  void run(int i, int task, int thread) override {
    const idl_op& op = list[step.begin + i];
    const int m = rows_of(op);
    switch (op.kind) {
      case IDL_EMBED: return embed(op, task, m, thread);
      case IDL_NORM: return norm(op, task, m);
      case IDL_PREP: {
        const int of = parts(m), first = task / of * 8;
        return prepare(op, first, std::min(8, m - first), *shared, rowbuf[thread].p, low.data(), task % of, of);
      }
      case IDL_LINEAR: return linear(op, task, m, thread);
      case IDL_ROPE: return rope(op, task, m);
      case IDL_ATTEND: return attend(op, task, thread);
      case IDL_CHOOSE: return choose(op, task, thread);
      case IDL_GATHER:
        for (int r = task * 8; r < std::min(m, task * 8 + 8); r++)
          std::memcpy(buf(op.out, r), buf(op.in, step.out_rows[r]), sizeof(float) * op.n);
        return;
    }
  }

  void embed(const idl_op& op, int task, int m, int thread) {
    const int blocks = (op.k + 31) / 32;
    for (int r = task * 8; r < std::min(m, task * 8 + 8); r++) {
      float* y = buf(op.out, r);
      const int id = step.ids[r];
      if (step.adapters && id >= step.vocabulary) {
        std::memcpy(y, step.soft[step.adapters[r]] + (int64_t)(id - step.vocabulary) * op.k, sizeof(float) * op.k);
        if (op.a) kn->add(y, op.a + (int64_t)(step.pos[r] + op.first) * op.k, op.k);
        if (op.b) kn->add(y, op.b, op.k);
        continue;
      }
      float* whole = op.k % 32 ? rowbuf[thread].p : y;  // whole blocks are written: not past the row's end
      kn->decode_row(op.wkind, (const uint8_t*)op.w + (int64_t)(id / 16) * blocks * cell_bytes(op.wkind), id % 16, blocks, whole);
      if (whole != y) std::memcpy(y, whole, sizeof(float) * op.k);
      if (op.scale != 1.0f)
        for (int j = 0; j < op.k; j++) y[j] *= op.scale;
      if (op.a) kn->add(y, op.a + (int64_t)(step.pos[r] + op.first) * op.k, op.k);
      if (op.b) kn->add(y, op.b, op.k);
    }
  }

  void norm(const idl_op& op, int task, int m) {
    for (int r = task * 8; r < std::min(m, task * 8 + 8); r++) {
      if (op.norm == IDL_NORM_RMS) kn->rmsnorm(buf(op.in, r), op.a, buf(op.out, r), op.k, op.eps, op.offset);
      else kn->layernorm(buf(op.in, r), op.a, op.b, buf(op.out, r), op.k, op.eps);
    }
  }

  void linear(const idl_op& op, int task, int m, int thread) {
    const int blocks = (op.k + 31) / 32, per = per_task(op, m), group = task % groups(op, m);
    const int rows = task / groups(op, m) * CHUNK, end = std::min(tiles(op), (group + 1) * per);
    const int64_t tile_bytes = blocks * cell_bytes(op.wkind);
    const Acts& acts = m == 1 ? *privates[thread] : *shared;
    const int64_t lanes = dense(op) ? 32 : 8, sums = op.wkind == Q8H ? 2 : 1;
    float* y = rowbuf[thread].p;
    const int at = (int)(&op - list.data());
    const float* mine = m == 1 ? lows[thread].data() : low.data();
    for (int t = group * per; t < end; t += op.pair ? 2 : 1) {
      const uint8_t* w = (const uint8_t*)op.w + t * tile_bytes;
      for (int first = rows; first < std::min(m, rows + CHUNK); first += 8) {
        const int mb = std::min(8, m - first);
        const int32_t* a = acts.a.p + first * blocks * lanes;
        const float *d = acts.d.p + (int64_t)first * blocks, *ds = acts.ds.p + (int64_t)first * blocks * sums;
        kn->tile(op.wkind, mb, w, blocks, a, d, ds, y, m <= FRESH_ROWS);
        if (op.b)
          for (int r = 0; r < mb; r++) kn->add(y + 16 * r, op.b + t * 16, 16);
        if (step.adapters) adapt(at, t, first, mb, y, mine);
        if (op.act == IDL_SILU) kn->silu(y, y, 16 * mb);
        else if (op.act == IDL_RELU) kn->relu(y, y, 16 * mb);
        else if (op.act != IDL_ACT_NONE) kn->gelu(y, y, 16 * mb, op.act == IDL_GELU_TANH);
        if (op.pair) {  // the next tile holds the rows that this one gates
          kn->tile(op.wkind, mb, w + tile_bytes, blocks, a, d, ds, y + 128, m <= FRESH_ROWS);
          if (op.b)
            for (int r = 0; r < mb; r++) kn->add(y + 128 + 16 * r, op.b + t * 16 + 16, 16);
          if (step.adapters) adapt(at, t + 1, first, mb, y + 128, mine);
          kn->multiply(y, y + 128, 16 * mb);
        }
        const int column = op.pair ? t * 8 : t * 16;
        const int valid = std::min(16, (op.pair ? op.n / 2 : op.n) - column);
        float* out = op.epilogue == IDL_LOGITS ? step.logits + first * step.logits_stride : buf(op.out, first);
        const int64_t stride = op.epilogue == IDL_LOGITS ? step.logits_stride : widths[op.out];
        kn->emit(out + op.column + column, stride, y, mb, valid, op.epilogue == IDL_ADD);
      }
    }
  }

  void rope(const idl_op& op, int task, int m) {
    const int q_width = op.heads * op.dim, kv_width = op.kv_heads * op.dim, half = op.rotary / 2;
    int segment = 0;
    for (int r = task * share(m); r < std::min(m, (task + 1) * share(m)); r++) {
      while (step.bounds[segment + 1] <= r) segment++;
      float* x = buf(op.in, r);
      const int p = step.pos[r];
      for (int h = 0; h < op.heads + op.kv_heads; h++) {
        const float* w = h < op.heads ? op.a : op.b;
        if (w) kn->rmsnorm(x + h * op.dim, w, x + h * op.dim, op.dim, op.eps, op.offset);
        if (half) kn->rope(x + h * op.dim, op.c + (int64_t)p * half, op.d + (int64_t)p * half, half);
      }
      const int page = step.tables[(int64_t)segment * step.table_stride + p / cache.page_size], inside = p % cache.page_size;
      for (int h = 0; h < op.kv_heads; h++) {
        const int64_t place = (((int64_t)op.layer * cache.pages + page) * cache.kv_heads + h) * cache.page_size;
        const int64_t k_at = place * cache.dim + inside, v_at = (place + inside) * cache.dim;
        const float *k = x + q_width + h * op.dim, *v = x + q_width + kv_width + h * op.dim;
        if (cache.int8) {
          cache.k_scales[place + inside] = kn->store_k8((int8_t*)cache.k + k_at, cache.page_size, k, op.dim);
          cache.v_scales[place + inside] = kn->store_v8((int8_t*)cache.v + v_at, v, op.dim);
        } else {
          kn->store_k((uint16_t*)cache.k + k_at, cache.page_size, k, op.dim);
          kn->store_v((uint16_t*)cache.v + v_at, v, op.dim);
        }
      }
    }
  }

  void attend(const idl_op& op, int task, int thread) {
    const int head = task % op.kv_heads, block = task / op.kv_heads, group = op.heads / op.kv_heads;
    const int segment = (int)(std::upper_bound(blocks_before.begin(), blocks_before.end(), block) - blocks_before.begin()) - 1;
    const int first = step.bounds[segment] + (block - blocks_before[segment]) * QB;
    const int64_t layer = (int64_t)op.layer * cache.pages * cache.kv_heads * cache.page_size;  // positions before it
    AttendArgs a{};
    a.tokens = std::min(QB, step.bounds[segment + 1] - first);
    a.group = group;
    a.dim = op.dim;
    a.kv_heads = op.kv_heads;
    a.head = head;
    a.q = buf(op.in, first) + head * group * op.dim;
    a.q_stride = widths[op.in];
    a.out = buf(op.out, first) + head * group * op.dim;
    a.out_stride = widths[op.out];
    a.k = (const char*)cache.k + layer * cache.dim * (cache.int8 ? 1 : 2);
    a.v = (const char*)cache.v + layer * cache.dim * (cache.int8 ? 1 : 2);
    if (cache.int8) {
      a.k_scales = cache.k_scales + layer;
      a.v_scales = cache.v_scales + layer;
    }
    a.table = step.tables + (int64_t)segment * step.table_stride;
    a.page_size = cache.page_size;
    a.total = step.lengths[segment];
    a.pos = step.pos + first;
    a.causal = op.causal;
    a.window = op.window;
    a.scale = op.scale;
    a.scratch = scratch[thread].p;
    kn->attend(a);
  }

  void choose(const idl_op& op, int row, int thread) {
    std::vector<double>& room = choosing[thread];  // made by whoever chooses first: scoring and encoders never do
    if (room.empty()) room.resize(choose_bytes(op.n) / 8 + 8);
    ChooseArgs a{};
    a.logits = step.logits + row * step.logits_stride;
    a.n = op.n;
    a.how = step.choices + row;
    a.token = step.chosen + row;
    a.norm = step.norms + row;
    a.top_ids = step.top_ids + row * step.top_stride;
    a.top_logprobs = step.top_logprobs + row * step.top_stride;
    a.scratch = room.data();
    kn->choose(a);
  }

  void begin(const idl_step& s, const idl_cache& c) {
    if (s.adapters && low.size() < (size_t)max_rows * s.ranks) {
      team->quiesce();  // a thread that is late may still look at the old ones
      low.resize((size_t)max_rows * s.ranks);
      lows.assign(team->threads(), std::vector<float>(s.ranks));
    }
    step = s;
    cache = c;
    blocks_before.assign(1, 0);
    for (int i = 0; i < s.segments; i++)
      blocks_before.push_back(blocks_before.back() + (s.bounds[i + 1] - s.bounds[i] + QB - 1) / QB);
    team->start(this);
  }

  void execute(const idl_step& s, const idl_cache& c) {
    begin(s, c);
    team->finish();
  }
};

}  // namespace idl

using namespace idl;

int idl_abi(void) { return IDL_ABI; }
const char* idl_isa(void) { return kernels() ? kernels()->name : nullptr; }
int idl_use_isa(const char* name) {
  const Kernels* k = by_name(name);
  if (k) chosen = k;
  return k != nullptr;
}
void* idl_team_new(int threads) { return new Team(threads); }
void idl_team_free(void* team) { delete (Team*)team; }

void* idl_program_new(void* team, const idl_op* ops, int n_ops, const int32_t* widths, int n_buffers, int max_rows, int max_context) {
  if (n_ops > MAX_OPS) return nullptr;
  return new Program((Team*)team, ops, n_ops, widths, n_buffers, max_rows, max_context);
}
void idl_program_free(void* program) { delete (Program*)program; }
void idl_program_quiesce(void* program) { ((Program*)program)->team->quiesce(); }
float* idl_program_buffer(void* program, int buffer) { return ((Program*)program)->buffers[buffer].p; }
int idl_program_start(void* program, const idl_step* step, const idl_cache* cache) {
  Program* p = (Program*)program;
  if (step->n < 0 || step->wanted < 0 || step->n > p->max_rows || step->wanted > p->max_rows) return -1;
  if (step->begin < 0 || step->begin > step->end || step->end > (int)p->list.size()) return -3;
  for (int i = 0; i < step->segments; i++)
    if (step->lengths[i] > p->max_context) return -2;
  p->begin(*step, *cache);
  return 0;
}
void idl_program_wait(void* program) { ((Program*)program)->team->finish(); }
int idl_program_run(void* program, const idl_step* step, const idl_cache* cache) {
  const int done = idl_program_start(program, step, cache);
  if (done == 0) idl_program_wait(program);
  return done;
}
int32_t idl_choose(const float* logits, int n, const idl_choice* how, float* norm, int32_t* top_ids, float* top_logprobs) {
  std::vector<double> room(choose_bytes(n) / 8 + 8);
  int32_t token = -1;
  kernels()->choose({logits, n, how, &token, norm, top_ids, top_logprobs, room.data()});
  return token;
}
double idl_uniform(uint64_t seed, int64_t choice, uint64_t index) { return uniform(seed, choice, index); }

void idl_unpack(int kind, const void* tiles, int k, const int32_t* rows, int n, float* out) {
  const int blocks = (k + 31) / 32;
  std::vector<float> y(32 * (size_t)blocks);
  for (int i = 0; i < n; i++) {
    kernels()->decode_row(kind, (const uint8_t*)tiles + (int64_t)(rows[i] / 16) * blocks * cell_bytes(kind), rows[i] % 16, blocks, y.data());
    std::memcpy(out + (int64_t)i * k, y.data(), sizeof(float) * k);
  }
}

void idl_matmul(void* team, int kind, const void* w, int n, int k, const float* x, int m, float* y) {
  idl_op ops[2] = {};
  ops[0].kind = IDL_PREP; ops[0].wkind = kind; ops[0].k = k;
  ops[1].kind = IDL_LINEAR; ops[1].wkind = kind; ops[1].k = k; ops[1].n = n; ops[1].w = w; ops[1].epilogue = IDL_LOGITS;
  int32_t width = (k + 15) / 16 * 16;
  Program p((Team*)team, ops, 2, &width, 1, m, 16);
  for (int r = 0; r < m; r++) std::memcpy(p.buf(0, r), x + (int64_t)r * k, sizeof(float) * k);
  int32_t bounds[2] = {0, m}, length = 1, zero = 0;
  idl_step s{};
  s.n = m; s.end = 2; s.segments = 0; s.bounds = bounds; s.lengths = &length; s.tables = &zero; s.logits = y; s.logits_stride = n;
  idl_cache c{};
  p.execute(s, c);
}
