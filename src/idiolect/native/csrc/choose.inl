// From a row of logits to a token: the most likely one, or a draw after temperature, top-k, top-p and min-p, which are one
// threshold together (engine/sampling is the specification). Part of kernels.cpp.
//
// The row is looked at in blocks of 64: their largest values and sums say where the candidates are and in which block a
// draw falls, so that nothing is ever sorted whole. Everything depends on the row alone.

struct Rows64 {  // the row in blocks; what lies past its end can never be chosen
  const float* x;
  int n;
  alignas(64) float tail[64];
  Rows64(const float* row, int count) : x(row), n(count) {
    for (int i = 0; i < 64; i++) tail[i] = n / 64 * 64 + i < n ? x[n / 64 * 64 + i] : -INFINITY;
  }
  int blocks() const { return (n + 63) / 64; }
  const float* at(int b) const { return 64 * b + 64 <= n ? x + 64 * b : tail; }
};

struct Chooser {
  Rows64 row;
  int blocks, found = 0;
  float *mass, *most, *copy;  // [64 blocks], [blocks], [blocks]
  double* sums;               // [blocks]
  int32_t* ids;               // [64 blocks] candidates

  Chooser(const ChooseArgs& a) : row(a.logits, a.n), blocks(row.blocks()) {
    sums = (double*)a.scratch;
    mass = (float*)(sums + blocks);
    most = mass + 64 * (int64_t)blocks;
    copy = most + blocks;
    ids = (int32_t*)(copy + blocks);
    for (int b = 0; b < blocks; b++) {
      const float* p = row.at(b);
      most[b] = hmax(max(max(load(p), load(p + 16)), max(load(p + 32), load(p + 48))));
    }
  }

  float best(int32_t* token) const {
    int b = 0;
    for (int i = 1; i < blocks; i++)
      if (most[i] > most[b]) b = i;
    const float* p = row.at(b);
    *token = 0;
    for (int i = 0; i < 64; i++)
      if (p[i] == most[b]) {
        *token = 64 * b + i;
        break;
      }
    return most[b];
  }

  // A value that at least `count` logits reach.
  float reached_by(int count) {
    if (count > blocks) return -INFINITY;
    std::copy(most, most + blocks, copy);
    std::nth_element(copy, copy + count - 1, copy + blocks, std::greater<float>());
    return copy[count - 1];
  }

  // The logits from `low` upwards, as ids; the best `count` of them first, in order.
  void collect(float low, int count) {
    found = 0;
    for (int b = 0; b < blocks; b++) {
      if (!(most[b] >= low)) continue;
      const float* p = row.at(b);
      for (int i = 0; i < 64; i++)
        if (p[i] >= low && 64 * b + i < row.n) ids[found++] = 64 * b + i;
    }
    const float* x = row.x;
    count = std::min(count, found);
    std::partial_sort(ids, ids + count, ids + found, [x](int32_t i, int32_t j) { return x[i] > x[j] || (x[i] == x[j] && i < j); });
  }

  // mass[i] = e^((logit - top) / temperature), and the sums of blocks.
  double weigh(float top, float temperature) {
    const F by = set1(1.0f / temperature), from = set1(top);
    double total = 0;
    for (int b = 0; b < blocks; b++) {
      const float* p = row.at(b);
      float* e = mass + 64 * (int64_t)b;
      F s = zero();
      for (int i = 0; i < 64; i += 16) {
        F v = exp(mul(sub(load(p + i), from), by));
        store(e + i, v);
        s = add(s, v);
      }
      if (64 * b + 64 > row.n) {  // what lies past the end has no mass
        float some = 0;
        for (int i = 0; i < 64; i++) {
          if (64 * b + i >= row.n) e[i] = 0;
          some += e[i];
        }
        sums[b] = some;
      } else {
        sums[b] = hsum(s);
      }
      total += sums[b];
    }
    return total;
  }

  // The same of the tokens whose logit is at least `low`; the others lose their mass.
  double keep(float low) {
    double total = 0;
    for (int b = 0; b < blocks; b++) {
      sums[b] = 0;
      if (!(most[b] >= low)) continue;
      const float* p = row.at(b);
      float* e = mass + 64 * (int64_t)b;
      for (int i = 0; i < 64; i++) {
        if (!(p[i] >= low)) e[i] = 0;
        sums[b] += e[i];
      }
      total += sums[b];
    }
    return total;
  }

  // The smallest logit of the nucleus: tokens are in while the mass of the better ones is below p of `total`.
  float nucleus(float low, double total, float p) {
    for (int count = 64;; count *= 8) {
      const bool all = count > blocks;
      collect(std::max(low, reached_by(count)), all ? row.n : count);
      double before = 0;
      const int sure = all ? found : std::min(count, found);
      for (int i = 0; i < sure; i++) {
        before += mass[ids[i]];
        if (before >= p * total) return row.x[ids[i]];
      }
      if (all || found < count) return found ? row.x[ids[std::min(sure, found) - 1]] : low;
    }
  }

  int32_t draw(double number, double total, float low) const {
    const double at = std::min(number * total, std::nextafter(total, 0.0));
    double sum = 0;
    int last = -1;
    for (int b = 0; b < blocks; b++) {
      if (!(most[b] >= low) || sums[b] == 0) continue;
      if (sum + sums[b] > at) {
        const float *p = row.at(b), *e = mass + 64 * (int64_t)b;
        for (int i = 0; i < 64; i++) {
          if (!(p[i] >= low) || e[i] == 0) continue;
          last = 64 * b + i;
          if ((sum += e[i]) > at) break;
        }
        return last;
      }
      sum += sums[b];
      last = b;
    }
    // Rounding: the number lies past everything. The last token that can be drawn.
    const float *p = row.at(last), *e = mass + 64 * (int64_t)last;
    for (int i = 63; i >= 0; i--)
      if (p[i] >= low && e[i] > 0) return 64 * last + i;
    return 0;
  }
};

static void choose(const ChooseArgs& a) {
  Chooser c(a);
  const idl_choice& how = *a.how;
  const float top = c.best(a.token);
  if (how.temperature > 0 && top > -INFINITY) {
    float low = -INFINITY;
    double total = c.weigh(top, how.temperature);
    if (how.top_k > 0 && how.top_k < a.n) {
      c.collect(c.reached_by(how.top_k), how.top_k);
      low = a.logits[c.ids[how.top_k - 1]];
    }
    if (how.top_p < 1) {
      if (low > -INFINITY) total = c.keep(low);
      low = std::max(low, c.nucleus(low, total, how.top_p));
    }
    if (how.min_p > 0) low = std::max(low, std::min(top, top + how.temperature * std::log(how.min_p)));
    if (low > -INFINITY) total = c.keep(low);
    *a.token = c.draw(uniform(how.seed, how.choice, how.index), total, low);
  }
  if (how.wants) {
    const float norm = top + (float)std::log(c.weigh(top, 1.0f));
    *a.norm = norm;
    const int count = std::min(how.wants - 1, a.n);
    if (count > 0) c.collect(c.reached_by(count), count);
    for (int i = 0; i < count; i++) {
      a.top_ids[i] = c.ids[i];
      a.top_logprobs[i] = a.logits[c.ids[i]] - norm;
    }
  }
}
