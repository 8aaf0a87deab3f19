// What this processor can do at best, for MBU and MFU: a loop that only reads, and loops that only multiply and add,
// from registers. Part of kernels.cpp.
// --------------------------------------------------------------------------------------------------------- ceilings

// The sum of n floats at p (a multiple of 64), so that no read can be left out.
static float read_all(const float* p, int64_t n) {
  F s[4] = {zero(), zero(), zero(), zero()};
  for (int64_t i = 0; i < n; i += 64) {
#pragma GCC unroll 4
    for (int r = 0; r < 4; r++) s[r] = add(s[r], load(p + i + 16 * r));
  }
  return hsum(add(add(s[0], s[1]), add(s[2], s[3])));
}

#if defined(IDL_AVX512)
constexpr int CHAINS = 12;
IDL_IN __m512i eight_bits(__m512i acc, __m512i u, __m512i v) { return _mm512_dpbusd_epi32(acc, u, v); }
using Lanes = __m512i;
constexpr int LANES8 = 64;
#elif defined(IDL_AVX2VNNI)
constexpr int CHAINS = 5;
IDL_IN __m256i eight_bits(__m256i acc, __m256i u, __m256i v) { return _mm256_dpbusd_avx_epi32(acc, u, v); }
using Lanes = __m256i;
constexpr int LANES8 = 32;
#elif defined(IDL_AVX2)
constexpr int CHAINS = 5;
IDL_IN __m256i eight_bits(__m256i acc, __m256i u, __m256i v) { return _mm256_add_epi16(acc, _mm256_maddubs_epi16(u, v)); }
using Lanes = __m256i;
constexpr int LANES8 = 32;
#elif defined(IDL_NEON)
constexpr int CHAINS = 5;
IDL_IN int32x4_t eight_bits(int32x4_t acc, int32x4_t u, int32x4_t v) {
  return vdotq_s32(acc, vreinterpretq_s8_s32(u), vreinterpretq_s8_s32(v));
}
using Lanes = int32x4_t;
constexpr int LANES8 = 16;
#else
constexpr int CHAINS = 5;
using Lanes = int32_t;
constexpr int LANES8 = 1;
IDL_IN int32_t eight_bits(int32_t acc, int32_t u, int32_t v) { return acc + (u & 255) * (int8_t)v; }
#endif

// Multiply-adds done in `rounds` rounds of float (bits 32) or byte (bits 8) products.
static int64_t multiply_adds(int bits, int64_t rounds) {
  if (bits == 32) {
    F acc[CHAINS], x = set1(0.999f), y = set1(1e-3f);
    for (int c = 0; c < CHAINS; c++) acc[c] = set1((float)c);
    for (int64_t i = 0; i < rounds; i++) {
#pragma GCC unroll 16
      for (int c = 0; c < CHAINS; c++) acc[c] = fma(acc[c], x, y);
    }
    F s = acc[0];
    for (int c = 1; c < CHAINS; c++) s = add(s, acc[c]);
    volatile float kept = hsum(s);
    (void)kept;
    return rounds * CHAINS * 16;
  }
  Lanes acc[2 * CHAINS], u, v;
  std::memset(&u, 1, sizeof u);
  std::memset(&v, 1, sizeof v);
  std::memset(acc, 0, sizeof acc);
  for (int64_t i = 0; i < rounds; i++) {
#if defined(__GNUC__) && !defined(__clang__) && defined(__x86_64__)
    asm("" : "+m"(u));  // the products are new each time, as in a kernel
#endif
#pragma GCC unroll 24
    for (int c = 0; c < 2 * CHAINS; c++) acc[c] = eight_bits(acc[c], u, v);
  }
  volatile unsigned char kept = 0;
  for (size_t i = 0; i < sizeof acc; i++) kept = kept ^ ((const unsigned char*)acc)[i];
  return rounds * 2 * CHAINS * LANES8;
}
