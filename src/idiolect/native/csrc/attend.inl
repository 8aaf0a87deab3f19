// Attention over pages. Part of kernels.cpp.
// ---------------------------------------------------------------------------------------------------------- attention

IDL_IN F load_kv(const uint16_t* p) { return load_h(p); }
IDL_IN F load_kv(const int8_t* p) { return load_i8(p); }

// T is what the cache holds. `scale` is the score's; an int8 key brings one of its own for each position.
template <int RB, class T>
IDL_IN void scores(const float* const* q, const T* k, int64_t stride, int dim, F scale, float* const* s) {
  F acc[RB];
  for (int r = 0; r < RB; r++) acc[r] = zero();
  for (int d = 0; d < dim; d++) {
    F kv = load_kv(k + d * stride);
#pragma GCC unroll 8
    for (int r = 0; r < RB; r++) acc[r] = fma(set1(q[r][d]), kv, acc[r]);
  }
  for (int r = 0; r < RB; r++) store(s[r], mul(acc[r], scale));
}

template <class T>
static void scores_any(int rb, const float* const* q, const T* k, int64_t stride, int dim, F scale, float* const* s) {
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

// out[r][0 .. 16 * NC) += sum over n positions of p[r][t] * v[t] (* the scale of v[t])
template <int RB, int NC, class T>
IDL_IN void values(const float* const* p, const T* v, const float* scales, int dim, int n, F (&acc)[RB][NC]) {
  for (int t = 0; t < n; t++, v += dim) {
    F x[NC];
#pragma GCC unroll 4
    for (int c = 0; c < NC; c++) x[c] = load_kv(v + 16 * c);
#pragma GCC unroll 6
    for (int r = 0; r < RB; r++) {
      F w = set1(sizeof(T) == 1 ? p[r][t] * scales[t] : p[r][t]);
#pragma GCC unroll 4
      for (int c = 0; c < NC; c++) acc[r][c] = fma(w, x[c], acc[r][c]);
    }
  }
}

template <int RB, int NC, class T>
static void weighted(const AttendArgs& a, int r0, int d0, int first, int ld, const float* inverse) {
  F acc[RB][NC];
  for (int r = 0; r < RB; r++)
    for (int c = 0; c < NC; c++) acc[r][c] = zero();
  for (int t = first; t < a.total;) {
    const int page = t / a.page_size, inside = t % a.page_size;
    int n = a.page_size - inside;
    if (t + n > a.total) n = a.total - t;
    const int64_t at = ((int64_t)a.table[page] * a.kv_heads + a.head) * a.page_size + inside;
    const T* v = (const T*)a.v + at * a.dim + d0;
    const float* p[RB];
    for (int r = 0; r < RB; r++) p[r] = a.scratch + (int64_t)(r0 + r) * ld + t;
    values<RB, NC>(p, v, sizeof(T) == 1 ? a.v_scales + at : nullptr, a.dim, n, acc);
    t += n;
  }
  for (int r = 0; r < RB; r++) {
    const int token = (r0 + r) / a.group, g = (r0 + r) % a.group;
    float* out = a.out + token * a.out_stride + g * a.dim + d0;
    for (int c = 0; c < NC; c++) store(out + 16 * c, mul(acc[r][c], set1(inverse[r0 + r])));
  }
}

template <int RB, class T>
static void weighted_any(const AttendArgs& a, int r0, int first, int ld, const float* inverse) {
  for (int d0 = 0; d0 < a.dim;) {
    const int left = (a.dim - d0) / 16;
    if constexpr (VALUE_COLUMNS == 1) { weighted<RB, 1, T>(a, r0, d0, first, ld, inverse); d0 += 16; }
    else if (left >= 4) { weighted<RB, 4, T>(a, r0, d0, first, ld, inverse); d0 += 64; }
    else if (left == 3) { weighted<RB, 3, T>(a, r0, d0, first, ld, inverse); d0 += 48; }
    else if (left == 2) { weighted<RB, 2, T>(a, r0, d0, first, ld, inverse); d0 += 32; }
    else { weighted<RB, 1, T>(a, r0, d0, first, ld, inverse); d0 += 16; }
  }
}

template <class T>
static void attend_to(const AttendArgs& a) {
  const int rows = a.tokens * a.group, ld = (a.total + 15) / 16 * 16;
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
    const int64_t head = (int64_t)a.table[page] * a.kv_heads + a.head;
    const T* k = (const T*)a.k + head * a.dim * a.page_size + inside;
    F scale = set1(a.scale);
    if (sizeof(T) == 1) scale = mul(scale, load(a.k_scales + head * a.page_size + inside));
    for (int r0 = 0; r0 < rows; r0 += SCORE_ROWS) {
      const int rb = rows - r0 < SCORE_ROWS ? rows - r0 : SCORE_ROWS;
      const float* q[SCORE_ROWS];
      float* s[SCORE_ROWS];
      for (int r = 0; r < rb; r++) {
        const int token = (r0 + r) / a.group, g = (r0 + r) % a.group;
        q[r] = a.q + token * a.q_stride + g * a.dim;
        s[r] = a.scratch + (int64_t)(r0 + r) * ld + t;
      }
      scores_any(rb, q, k, a.page_size, a.dim, scale, s);
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
  for (; r + VALUE_ROWS <= rows; r += VALUE_ROWS) weighted_any<VALUE_ROWS, T>(b, r, first, ld, inverse);
  for (; r + 4 <= rows; r += 4) weighted_any<4, T>(b, r, first, ld, inverse);
  if (rows - r == 3) weighted_any<3, T>(b, r, first, ld, inverse);
  if (rows - r == 2) weighted_any<2, T>(b, r, first, ld, inverse);
  if (rows - r == 1) weighted_any<1, T>(b, r, first, ld, inverse);
}

static void attend(const AttendArgs& a) {
  if (a.k_scales) attend_to<int8_t>(a);
  else attend_to<uint16_t>(a);
}
