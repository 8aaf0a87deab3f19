// Products with float weights. Part of kernels.cpp.
// ------------------------------------------------------------------------------------------------- dense tile products
//
// k runs in chunks of 64: each chunk is one chain of fused products from zero, and the chunks' sums are added in order.
// So a row is computed in the same order whatever the batch, while a small batch may run two chunks side by side (one
// chain waits for itself) and a large one keeps a few rows of sums in registers and a chunk of weights in the first
// cache. AVX2 has sixteen registers for two halves of sixteen lanes: six rows and the weights fill them.

constexpr int DENSE_CHUNK = 64;
#if defined(IDL_FEW_REGISTERS)
constexpr int DENSE_ROWS = 6;
#else
constexpr int DENSE_ROWS = 8;
#endif

template <int KIND>
IDL_IN F load_dense(const uint8_t* w) {
  if (KIND == BF16) return load_b((const uint16_t*)w);
  if (KIND == F16) return load_h((const uint16_t*)w);
  return load((const float*)w);
}

// R rows of activations, rows m0 .. of MB, over one chunk of n values of k; added to total.
template <int R, int MB, int KIND>
IDL_IN void dense_chunk(const uint8_t* w, int n, const float* a, int m0, F* total) {
  constexpr int64_t step = KIND == F32 ? 64 : 32;
  F acc[R];
  for (int r = 0; r < R; r++) acc[r] = zero();
  for (int k = 0; k < n; k++) {
    const F x = load_dense<KIND>(w + k * step);
#pragma GCC unroll 8
    for (int r = 0; r < R; r++) acc[r] = fma(x, set1(a[(int64_t)k * MB + m0 + r]), acc[r]);
  }
  for (int r = 0; r < R; r++) total[m0 + r] = add(total[m0 + r], acc[r]);
}

// Two whole chunks at once, for one or two rows.
template <int MB, int KIND>
IDL_IN void dense_two(const uint8_t* w, const float* a, F* total) {
  constexpr int64_t step = KIND == F32 ? 64 : 32;
  F acc[MB], other[MB];
  for (int m = 0; m < MB; m++) acc[m] = other[m] = zero();
  for (int k = 0; k < DENSE_CHUNK; k++) {
    if (step == 64 || k % 2 == 0) {  // a line of either chunk, 4 KB before its turn
      __builtin_prefetch(w + k * step + 4096);
      __builtin_prefetch(w + (k + DENSE_CHUNK) * step + 4096);
    }
    const F x = load_dense<KIND>(w + k * step), y = load_dense<KIND>(w + (k + DENSE_CHUNK) * step);
    for (int m = 0; m < MB; m++) acc[m] = fma(x, set1(a[(int64_t)k * MB + m]), acc[m]);
    for (int m = 0; m < MB; m++) other[m] = fma(y, set1(a[(int64_t)(k + DENSE_CHUNK) * MB + m]), other[m]);
  }
  for (int m = 0; m < MB; m++) total[m] = add(add(total[m], acc[m]), other[m]);
}

template <int MB, int KIND>
static void tile_dense(const uint8_t* w, int blocks, const float* a, float* out) {
  constexpr int64_t step = KIND == F32 ? 64 : 32;
  constexpr int FIRST = MB <= DENSE_ROWS ? MB : (MB + 1) / 2;
  F total[MB];
  for (int m = 0; m < MB; m++) total[m] = zero();
  const int end = 32 * blocks;
  int k = 0;
  if (MB <= 2)
    for (; k + 2 * DENSE_CHUNK <= end; k += 2 * DENSE_CHUNK) dense_two<MB, KIND>(w + k * step, a + (int64_t)k * MB, total);
  for (; k < end; k += DENSE_CHUNK) {
    const int n = end - k < DENSE_CHUNK ? end - k : DENSE_CHUNK;
    if constexpr (MB <= FIRST) {
      dense_chunk<MB, MB, KIND>(w + k * step, n, a + (int64_t)k * MB, 0, total);
    } else {  // two passes: halves are widened once
      alignas(64) float wide[KIND == F32 ? 1 : 16 * DENSE_CHUNK];
      if (KIND != F32)
        for (int i = 0; i < n; i++) store(wide + 16 * i, load_dense<KIND>(w + (k + i) * step));
      const uint8_t* chunk = KIND == F32 ? w + k * step : (const uint8_t*)wide;
      dense_chunk<FIRST, MB, F32>(chunk, n, a + (int64_t)k * MB, 0, total);
      dense_chunk<MB - FIRST, MB, F32>(chunk, n, a + (int64_t)k * MB, FIRST, total);
    }
  }
  for (int m = 0; m < MB; m++) store(out + 16 * m, total[m]);
}
