// Norms, activations, rotation, and keys and values into the cache. Part of kernels.cpp.
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

static void silu(const float* x, float* y, int n) {
  each(y, n, [&](int j) {
    F g = load(x + j);
    return div(g, add(set1(1.0f), exp(sub(zero(), g))));
  });
}

static void relu(const float* x, float* y, int n) {
  each(y, n, [&](int j) { return max(load(x + j), zero()); });
}

static void multiply(float* y, const float* x, int n) {
  each(y, n, [&](int j) { return mul(load(y + j), load(x + j)); });
}

// erf of values from 0 upwards, within 2e-7: formula 7.1.26 of Abramowitz and Stegun, Handbook of Mathematical Functions.
IDL_IN F erf(F x) {
  F t = div(set1(1.0f), fma(set1(0.3275911f), x, set1(1.0f)));
  F p = fma(t, set1(1.061405429f), set1(-1.453152027f));
  p = fma(p, t, set1(1.421413741f));
  p = fma(p, t, set1(-0.284496736f));
  p = mul(fma(p, t, set1(0.254829592f)), t);
  return sub(set1(1.0f), mul(p, exp(sub(zero(), mul(x, x)))));
}

static void gelu(const float* x, float* y, int n, int tanh_form) {
  if (!tanh_form) {
    each(y, n, [&](int j) {  // 0.5 (x + |x| erf(|x| / sqrt 2))
      F v = load(x + j), size = abs(v);
      return mul(set1(0.5f), fma(size, erf(mul(size, set1(0.70710678118654752f))), v));
    });
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

// One tile's results [rows][16] into rows of a buffer, or added to them.
static void emit(float* out, int64_t stride, const float* y, int rows, int valid, int sum) {
  if (valid == 16) {
    for (int r = 0; r < rows; r++, out += stride, y += 16) store(out, sum ? add(load(out), load(y)) : load(y));
    return;
  }
  for (int r = 0; r < rows; r++, out += stride, y += 16)
    for (int i = 0; i < valid; i++) out[i] = sum ? out[i] + y[i] : y[i];
}

static void rope(float* x, const float* cos, const float* sin, int half) {
  for (int i = 0; i < half; i++) {
    float u = x[i], v = x[i + half];
    x[i] = u * cos[i] - v * sin[i];
    x[i + half] = v * cos[i] + u * sin[i];
  }
}

// Beyond fp16's range a value becomes its largest: an infinity would turn a whole softmax into NaN.
IDL_IN F clamp_h(F x) { return max(min(x, set1(65504.0f)), set1(-65504.0f)); }

static void store_k(uint16_t* k, int64_t stride, const float* x, int dim) {
  alignas(64) uint16_t h[16];
  for (int d = 0; d < dim; d += 16) {
    store_h(h, clamp_h(load(x + d)));
    for (int i = 0; i < 16; i++) k[(d + i) * stride] = h[i];
  }
}

static void store_v(uint16_t* v, const float* x, int dim) {
  for (int d = 0; d < dim; d += 16) store_h(v + d, clamp_h(load(x + d)));
}

// int8 with one scale for a whole head at one position.
IDL_IN float scale_of(const float* x, int dim) {
  F top = zero();
  for (int d = 0; d < dim; d += 16) top = max(top, abs(load(x + d)));
  return hmax(top) / 127.0f;
}

static float store_v8(int8_t* v, const float* x, int dim) {
  const float scale = scale_of(x, dim), inverse = scale > 0 ? 1.0f / scale : 0.0f;
  for (int d = 0; d < dim; d += 16) store_i8(v + d, max(min(round(mul(load(x + d), set1(inverse))), set1(127.0f)), set1(-127.0f)));
  return scale;
}

static float store_k8(int8_t* k, int64_t stride, const float* x, int dim) {
  const float scale = scale_of(x, dim), inverse = scale > 0 ? 1.0f / scale : 0.0f;
  alignas(64) int8_t q[16];
  for (int d = 0; d < dim; d += 16) {
    store_i8(q, max(min(round(mul(load(x + d), set1(inverse))), set1(127.0f)), set1(-127.0f)));
    for (int i = 0; i < 16; i++) k[(d + i) * stride] = q[i];
  }
  return scale;
}
