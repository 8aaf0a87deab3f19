// What adapters add to a product: a few dot products with the input, and their sum into a tile. Part of kernels.cpp.

// out[j] = a[j] . x, a [n][k]
static void dots(const float* x, const float* a, int n, int k, float* out) {
  for (int j = 0; j < n; j++, a += k) {
    F s = zero();
    int i = 0;
    for (; i + 16 <= k; i += 16) s = fma(load(x + i), load(a + i), s);
    float total = hsum(s);
    for (; i < k; i++) total += x[i] * a[i];
    out[j] = total;
  }
}

// y[16] += sum over j of low[j] * b[j][16]
static void low_rank(float* y, const float* b, const float* low, int n) {
  F s = load(y);
  for (int j = 0; j < n; j++) s = fma(set1(low[j]), load(b + 16 * j), s);
  store(y, s);
}
