// Every kernel, written once over the sixteen lanes of vec.h and compiled once per instruction set.
#include "kernels.h"

#include "vec.h"

namespace idl {
namespace IDL_NAME {

// ---------------------------------------------------------------------------------------------- activations to int8

template <bool HALF>
static void quantize_rows(const float* x, int64_t stride, int mb, int k, int32_t* a, float* d, float* ds) {
  const int blocks = (k + 31) / 32;
  float tail[32];
  for (int m = 0; m < mb; m++) {
    const float* row = x + m * stride;
    for (int b = 0; b < blocks; b++) {
      const float* p = row + 32 * b;
      if (32 * b + 32 > k) {
        for (int i = 0; i < 32; i++) tail[i] = 32 * b + i < k ? p[i] : 0.0f;
        p = tail;
      }
      F u = load(p), v = load(p + 16);
      float top = hmax(max(abs(u), abs(v)));
      float inverse = top > 0 ? 127.0f / top : 0.0f, scale = top / 127.0f;
      u = round(mul(u, set1(inverse)));
      v = round(mul(v, set1(inverse)));
      alignas(64) int8_t q[32];
      store_i8(q, u);
      store_i8(q + 16, v);
      int32_t lanes[8];
      std::memcpy(lanes, q, 32);
      for (int g = 0; g < 8; g++) a[(b * 8 + g) * mb + m] = lanes[g];
      d[b * mb + m] = scale;
      if (HALF) {
        ds[(b * 2) * mb + m] = scale * hsum(u);
        ds[(b * 2 + 1) * mb + m] = scale * hsum(v);
      } else {
        ds[b * mb + m] = scale * hsum(add(u, v));
      }
    }
  }
}

static void quantize(const float* x, int64_t stride, int mb, int k, int32_t* a, float* d, float* ds) {
  quantize_rows<false>(x, stride, mb, k, a, d, ds);
}
static void quantize_half(const float* x, int64_t stride, int mb, int k, int32_t* a, float* d, float* ds) {
  quantize_rows<true>(x, stride, mb, k, a, d, ds);
}

static void interleave(const float* x, int64_t stride, int mb, int k, float* a) {
  const int padded = (k + 31) / 32 * 32;
  for (int m = 0; m < mb; m++)
    for (int i = 0; i < padded; i++) a[(int64_t)i * mb + m] = i < k ? x[m * stride + i] : 0.0f;
}

// ------------------------------------------------------------------------------------------------------ tile products

template <int MB>
static void tile_q4(const uint8_t* w, int blocks, const int32_t* a, const float* d, const float* ds, float* out) {
  F total[MB];
  for (int m = 0; m < MB; m++) total[m] = zero();
  for (int b = 0; b < blocks; b++, w += 320, a += 8 * MB, d += MB, ds += MB) {
    I acc[MB];
    for (int m = 0; m < MB; m++) acc[m] = izero();
#pragma GCC unroll 4
    for (int g = 0; g < 4; g++) {
      W codes = load_w(w + 64 * g), lo = low(codes), hi = high(codes);
#pragma GCC unroll 8
      for (int m = 0; m < MB; m++) acc[m] = dot<true>(acc[m], lo, a[g * MB + m]);
#pragma GCC unroll 8
      for (int m = 0; m < MB; m++) acc[m] = dot<true>(acc[m], hi, a[(g + 4) * MB + m]);
    }
    F s = load_h((const uint16_t*)(w + 256)), z = load_h((const uint16_t*)(w + 288));
#pragma GCC unroll 8
    for (int m = 0; m < MB; m++) {
      total[m] = fma(mul(s, set1(d[m])), to_f(acc[m]), total[m]);
      total[m] = fma(z, set1(ds[m]), total[m]);
    }
  }
  for (int m = 0; m < MB; m++) store(out + 16 * m, total[m]);
}

template <int MB>
static void tile_q8(const uint8_t* w, int blocks, const int32_t* a, const float* d, const float* ds, float* out) {
  F total[MB];
  for (int m = 0; m < MB; m++) total[m] = zero();
  for (int b = 0; b < blocks; b++, w += 576, a += 8 * MB, d += MB, ds += MB) {
    I acc[MB];
    for (int m = 0; m < MB; m++) acc[m] = izero();
#pragma GCC unroll 8
    for (int g = 0; g < 8; g++) {
      W codes = load_w(w + 64 * g);
#pragma GCC unroll 8
      for (int m = 0; m < MB; m++) acc[m] = dot<false>(acc[m], codes, a[g * MB + m]);
    }
    F s = load_h((const uint16_t*)(w + 512)), z = load_h((const uint16_t*)(w + 544));
#pragma GCC unroll 8
    for (int m = 0; m < MB; m++) {
      total[m] = fma(mul(s, set1(d[m])), to_f(acc[m]), total[m]);
      total[m] = fma(z, set1(ds[m]), total[m]);
    }
  }
  for (int m = 0; m < MB; m++) store(out + 16 * m, total[m]);
}

template <int MB>
static void tile_q8h(const uint8_t* w, int blocks, const int32_t* a, const float* d, const float* ds, float* out) {
  F total[MB];
  for (int m = 0; m < MB; m++) total[m] = zero();
  for (int b = 0; b < blocks; b++, w += 640, a += 8 * MB, d += MB, ds += 2 * MB) {
    for (int half = 0; half < 2; half++) {
      I acc[MB];
      for (int m = 0; m < MB; m++) acc[m] = izero();
      for (int g = 4 * half; g < 4 * half + 4; g++) {
        W codes = load_w(w + 64 * g);
        for (int m = 0; m < MB; m++) acc[m] = dot<true>(acc[m], codes, a[g * MB + m]);
      }
      F s = load_h((const uint16_t*)(w + 512 + 32 * half)), z = load_h((const uint16_t*)(w + 576 + 32 * half));
      for (int m = 0; m < MB; m++) {
        total[m] = fma(mul(s, set1(d[m])), to_f(acc[m]), total[m]);
        total[m] = fma(z, set1(ds[half * MB + m]), total[m]);
      }
    }
  }
  for (int m = 0; m < MB; m++) store(out + 16 * m, total[m]);
}

template <int MB, bool BF>
static void tile_dense(const uint8_t* w, int blocks, const float* a, float* out) {
  F total[MB], other[MB];
  for (int m = 0; m < MB; m++) total[m] = other[m] = zero();
  const int64_t step = BF ? 32 : 64;
  for (int64_t k = 0; k < 32 * (int64_t)blocks; k += 2) {
    F u = BF ? load_b((const uint16_t*)(w + k * step)) : load((const float*)(w + k * step));
    F v = BF ? load_b((const uint16_t*)(w + (k + 1) * step)) : load((const float*)(w + (k + 1) * step));
#pragma GCC unroll 8
    for (int m = 0; m < MB; m++) total[m] = fma(u, set1(a[k * MB + m]), total[m]);
#pragma GCC unroll 8
    for (int m = 0; m < MB; m++) other[m] = fma(v, set1(a[(k + 1) * MB + m]), other[m]);
  }
  for (int m = 0; m < MB; m++) store(out + 16 * m, add(total[m], other[m]));
}

template <int MB>
static void tile_mb(int kind, const uint8_t* w, int blocks, const void* a, const float* d, const float* ds, float* out) {
  switch (kind) {
    case Q4: tile_q4<MB>(w, blocks, (const int32_t*)a, d, ds, out); break;
    case Q8: tile_q8<MB>(w, blocks, (const int32_t*)a, d, ds, out); break;
    case Q8H: tile_q8h<MB>(w, blocks, (const int32_t*)a, d, ds, out); break;
    case BF16: tile_dense<MB, true>(w, blocks, (const float*)a, out); break;
    default: tile_dense<MB, false>(w, blocks, (const float*)a, out); break;
  }
}

static void tile(int kind, int mb, const uint8_t* w, int blocks, const void* a, const float* d, const float* ds, float* out) {
  switch (mb) {
    case 1: tile_mb<1>(kind, w, blocks, a, d, ds, out); break;
    case 2: tile_mb<2>(kind, w, blocks, a, d, ds, out); break;
    case 3: tile_mb<3>(kind, w, blocks, a, d, ds, out); break;
    case 4: tile_mb<4>(kind, w, blocks, a, d, ds, out); break;
    case 5: tile_mb<5>(kind, w, blocks, a, d, ds, out); break;
    case 6: tile_mb<6>(kind, w, blocks, a, d, ds, out); break;
    case 7: tile_mb<7>(kind, w, blocks, a, d, ds, out); break;
    default: tile_mb<8>(kind, w, blocks, a, d, ds, out); break;
  }
}

static void decode_row(int kind, const uint8_t* w, int lane, int blocks, float* y) {
  for (int b = 0; b < blocks; b++, w += cell_bytes(kind), y += 32) {
    if (kind == BF16 || kind == F32) {
      for (int i = 0; i < 32; i++) {
        if (kind == F32) {
          y[i] = ((const float*)w)[16 * i + lane];
        } else {
          uint32_t bits = (uint32_t)((const uint16_t*)w)[16 * i + lane] << 16;
          std::memcpy(y + i, &bits, 4);
        }
      }
      continue;
    }
    alignas(64) float s[32], z[32];
    const uint16_t* scales = (const uint16_t*)(w + (kind == Q4 ? 256 : 512));
    const int parts = kind == Q8H ? 2 : 1;
    for (int h = 0; h < parts; h++) {
      store(s + 16 * h, load_h(scales + 16 * h));
      store(z + 16 * h, load_h(scales + 16 * (parts + h)));
    }
    for (int i = 0; i < 32; i++) {
      const int g = i / 4, j = i % 4, h = kind == Q8H ? i / 16 : 0;
      int u = kind == Q4 ? (w[64 * (g & 3) + 4 * lane + j] >> (g < 4 ? 0 : 4)) & 15 : w[64 * g + 4 * lane + j];
      y[i] = s[16 * h + lane] * (float)u + z[16 * h + lane];
    }
  }
}

// ------------------------------------------------------------------------------------------------- element-wise parts

template <class Op>
IDL_IN void each(float* y, int n, Op op) {
  int i = 0;
  for (; i + 16 <= n; i += 16) store(y + i, op(i));
  if (i < n) {
    alignas(64) float t[16];
    store(t, op(i));  // buffers are padded by 16 floats, so reading past n is safe
    std::memcpy(y + i, t, sizeof(float) * (n - i));
  }
}

static float sum_tail(const float* x, int n, int i, float mean, bool square) {
  float s = 0;
  for (; i < n; i++) s += square ? (x[i] - mean) * (x[i] - mean) : x[i];
  return s;
}

static void rmsnorm(const float* x, const float* w, float* y, int n, float eps, float offset) {
  F s = zero();
  int i = 0;
  for (; i + 16 <= n; i += 16) { F v = load(x + i); s = fma(v, v, s); }
  float total = hsum(s) + sum_tail(x, n, i, 0, true);
  F r = set1(1.0f / std::sqrt(total / n + eps)), o = set1(offset);
  each(y, n, [&](int j) { return mul(mul(load(x + j), r), add(load(w + j), o)); });
}

static void layernorm(const float* x, const float* w, const float* b, float* y, int n, float eps) {
  F s = zero();
  int i = 0;
  for (; i + 16 <= n; i += 16) s = add(s, load(x + i));
  float mean = (hsum(s) + sum_tail(x, n, i, 0, false)) / n;
  F m = set1(mean), q = zero();
  for (i = 0; i + 16 <= n; i += 16) { F v = sub(load(x + i), m); q = fma(v, v, q); }
  float variance = (hsum(q) + sum_tail(x, n, i, mean, true)) / n;
  F r = set1(1.0f / std::sqrt(variance + eps));
  each(y, n, [&](int j) { return fma(mul(sub(load(x + j), m), r), load(w + j), load(b + j)); });
}

static void silu_mul(const float* gate, const float* up, float* y, int n) {
  each(y, n, [&](int j) {
    F g = load(gate + j);
    return mul(div(g, add(set1(1.0f), exp(sub(zero(), g)))), load(up + j));
  });
}

static void gelu(const float* x, float* y, int n, int tanh_form) {
  if (!tanh_form) {
    for (int i = 0; i < n; i++) y[i] = 0.5f * x[i] * (1.0f + std::erf(x[i] * 0.70710678118654752f));
    return;
  }
  each(y, n, [&](int j) {  // 0.5 x (1 + tanh z) = x * sigmoid(2 z)
    F v = load(x + j), z = mul(set1(1.5957691216057308f), fma(mul(set1(0.044715f), mul(v, v)), v, v));
    return div(v, add(set1(1.0f), exp(sub(zero(), z))));
  });
}

static void add_to(float* y, const float* x, int n) {
  each(y, n, [&](int j) { return add(load(y + j), load(x + j)); });
}

static void rope(float* x, const float* cos, const float* sin, int half) {
  for (int i = 0; i < half; i++) {
    float u = x[i], v = x[i + half];
    x[i] = u * cos[i] - v * sin[i];
    x[i + half] = v * cos[i] + u * sin[i];
  }
}

static void store_k(uint16_t* k, int64_t stride, const float* x, int dim) {
  alignas(64) uint16_t h[16];
  for (int d = 0; d < dim; d += 16) {
    store_h(h, load(x + d));
    for (int i = 0; i < 16; i++) k[(d + i) * stride] = h[i];
  }
}

static void store_v(uint16_t* v, const float* x, int dim) {
  for (int d = 0; d < dim; d += 16) store_h(v + d, load(x + d));
}

// ---------------------------------------------------------------------------------------------------------- attention

template <int RB>
IDL_IN void scores(const float* const* q, const uint16_t* k, int64_t stride, int dim, float scale, float* const* s) {
  F acc[RB];
  for (int r = 0; r < RB; r++) acc[r] = zero();
  for (int d = 0; d < dim; d++) {
    F kv = load_h(k + d * stride);
#pragma GCC unroll 8
    for (int r = 0; r < RB; r++) acc[r] = fma(set1(q[r][d]), kv, acc[r]);
  }
  for (int r = 0; r < RB; r++) store(s[r], mul(acc[r], set1(scale)));
}

static void scores_any(int rb, const float* const* q, const uint16_t* k, int64_t stride, int dim, float scale, float* const* s) {
  switch (rb) {
    case 1: scores<1>(q, k, stride, dim, scale, s); break;
    case 2: scores<2>(q, k, stride, dim, scale, s); break;
    case 3: scores<3>(q, k, stride, dim, scale, s); break;
    case 4: scores<4>(q, k, stride, dim, scale, s); break;
    case 5: scores<5>(q, k, stride, dim, scale, s); break;
    case 6: scores<6>(q, k, stride, dim, scale, s); break;
    case 7: scores<7>(q, k, stride, dim, scale, s); break;
    default: scores<8>(q, k, stride, dim, scale, s); break;
  }
}

// out[r][0 .. 16 * NC) += sum over n positions of p[r][t] * v[t]
template <int RB, int NC>
IDL_IN void values(const float* const* p, const uint16_t* v, int dim, int n, F (&acc)[RB][NC]) {
  for (int t = 0; t < n; t++, v += dim) {
    F x[NC];
#pragma GCC unroll 4
    for (int c = 0; c < NC; c++) x[c] = load_h(v + 16 * c);
#pragma GCC unroll 4
    for (int r = 0; r < RB; r++) {
      F w = set1(p[r][t]);
#pragma GCC unroll 4
      for (int c = 0; c < NC; c++) acc[r][c] = fma(w, x[c], acc[r][c]);
    }
  }
}

template <int RB, int NC>
static void weighted(const AttendArgs& a, int r0, int d0, int first, int ld, const float* inverse) {
  F acc[RB][NC];
  for (int r = 0; r < RB; r++)
    for (int c = 0; c < NC; c++) acc[r][c] = zero();
  const int64_t page_stride = (int64_t)a.kv_heads * a.page_size * a.dim;
  for (int t = first; t < a.total;) {
    const int page = t / a.page_size, inside = t % a.page_size;
    int n = a.page_size - inside;
    if (t + n > a.total) n = a.total - t;
    const uint16_t* v = a.v + a.table[page] * page_stride + ((int64_t)a.head * a.page_size + inside) * a.dim + d0;
    const float* p[RB];
    for (int r = 0; r < RB; r++) p[r] = a.scratch + (int64_t)(r0 + r) * ld + t;
    values<RB, NC>(p, v, a.dim, n, acc);
    t += n;
  }
  for (int r = 0; r < RB; r++) {
    const int token = (r0 + r) / a.group, g = (r0 + r) % a.group;
    float* out = a.out + token * a.out_stride + g * a.dim + d0;
    for (int c = 0; c < NC; c++) store(out + 16 * c, mul(acc[r][c], set1(inverse[r0 + r])));
  }
}

template <int RB>
static void weighted_any(const AttendArgs& a, int r0, int first, int ld, const float* inverse) {
  for (int d0 = 0; d0 < a.dim;) {
    const int left = (a.dim - d0) / 16;
    if (left >= 4) { weighted<RB, 4>(a, r0, d0, first, ld, inverse); d0 += 64; }
    else if (left == 3) { weighted<RB, 3>(a, r0, d0, first, ld, inverse); d0 += 48; }
    else if (left == 2) { weighted<RB, 2>(a, r0, d0, first, ld, inverse); d0 += 32; }
    else { weighted<RB, 1>(a, r0, d0, first, ld, inverse); d0 += 16; }
  }
}

static void attend(const AttendArgs& a) {
  const int rows = a.tokens * a.group, ld = (a.total + 15) / 16 * 16;
  const int64_t page_stride = (int64_t)a.kv_heads * a.page_size * a.dim;
  int first = 0;  // positions before every row's window need no work
  if (a.window > 0) {
    first = a.pos[0] - a.window + 1;
    first = first < 0 ? 0 : first / 16 * 16;
  }
  int last = a.total;
  if (a.causal) {
    last = a.pos[a.tokens - 1] + 1;
    if (last > a.total) last = a.total;
  }
  for (int t = first; t < last; t += 16) {
    const int page = t / a.page_size, inside = t % a.page_size;
    const uint16_t* k = a.k + a.table[page] * page_stride + (int64_t)a.head * a.dim * a.page_size + inside;
    for (int r0 = 0; r0 < rows; r0 += 8) {
      const int rb = rows - r0 < 8 ? rows - r0 : 8;
      const float* q[8];
      float* s[8];
      for (int r = 0; r < rb; r++) {
        const int token = (r0 + r) / a.group, g = (r0 + r) % a.group;
        q[r] = a.q + token * a.q_stride + g * a.dim;
        s[r] = a.scratch + (int64_t)(r0 + r) * ld + t;
      }
      scores_any(rb, q, k, a.page_size, a.dim, a.scale, s);
    }
  }
  float inverse[256];
  const float none = -1e30f;
  for (int r = 0; r < rows; r++) {
    float* s = a.scratch + (int64_t)r * ld;
    const int p = a.pos[r / a.group];
    int end = a.causal && p + 1 < a.total ? p + 1 : a.total;
    int begin = a.window > 0 && p - a.window + 1 > 0 ? p - a.window + 1 : 0;
    for (int t = first; t < begin; t++) s[t] = none;
    for (int t = end; t < (last + 15) / 16 * 16; t++) s[t] = none;
    F m = set1(none);
    for (int t = first; t < last; t += 16) m = max(m, load(s + t));
    F top = set1(hmax(m)), sum = zero();
    for (int t = first; t < last; t += 16) {
      F e = exp(sub(load(s + t), top));
      store(s + t, e);
      sum = add(sum, e);
    }
    for (int t = first; t < begin; t++) s[t] = 0.0f;
    for (int t = end; t < (last + 15) / 16 * 16; t++) s[t] = 0.0f;
    inverse[r] = 1.0f / hsum(sum);
  }
  AttendArgs b = a;
  b.total = last;
  int r = 0;
  for (; r + 4 <= rows; r += 4) weighted_any<4>(b, r, first, ld, inverse);
  if (rows - r == 3) weighted_any<3>(b, r, first, ld, inverse);
  if (rows - r == 2) weighted_any<2>(b, r, first, ld, inverse);
  if (rows - r == 1) weighted_any<1>(b, r, first, ld, inverse);
}

static const Kernels table = {
#define IDL_TEXT2(x) #x
#define IDL_TEXT(x) IDL_TEXT2(x)
    IDL_TEXT(IDL_NAME), quantize, quantize_half, interleave, tile,    rmsnorm, layernorm, silu_mul,
    gelu,               add_to,   rope,          store_k,    store_v, attend,  decode_row};

}  // namespace IDL_NAME

#define IDL_JOIN2(a, b) a##b
#define IDL_JOIN(a, b) IDL_JOIN2(a, b)
const Kernels* IDL_JOIN(kernels_, IDL_NAME)() { return &IDL_NAME::table; }

}  // namespace idl
