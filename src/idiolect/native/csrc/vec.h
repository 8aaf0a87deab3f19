// Sixteen lanes, whatever the machine: the one place that knows an instruction set.
//
// The kernels are written once against this file and compiled once per instruction set. F is sixteen floats, I sixteen
// int32, W sixty-four bytes of weight codes (sixteen rows of four consecutive k each). H sums products of 4-bit codes
// over one block of 32 (`wide` makes an I of it), C is a W made ready for products of whole bytes: `dot8` sums
// (u - CENTRE) * a, where CENTRE is whatever suits the machine.
#pragma once
#include <cmath>
#include <cstdint>
#include <cstring>

#if defined(IDL_AVX512)
#include <immintrin.h>
#define IDL_NAME avx512
#elif defined(IDL_AVX2VNNI)
#include <immintrin.h>
#define IDL_NAME avx2vnni
#elif defined(IDL_AVX2)
#include <immintrin.h>
#define IDL_NAME avx2
#elif defined(IDL_NEON)
#include <arm_neon.h>
#define IDL_NAME neon
#else
#define IDL_NAME portable
#endif

namespace idl {
namespace IDL_NAME {

#define IDL_IN static inline __attribute__((always_inline))

#if defined(IDL_AVX512)

struct F { __m512 v; };
struct I { __m512i v; };
struct W { __m512i v; };
IDL_IN F load(const float* p) { return {_mm512_loadu_ps(p)}; }
IDL_IN void store(float* p, F a) { _mm512_storeu_ps(p, a.v); }
IDL_IN F set1(float x) { return {_mm512_set1_ps(x)}; }
IDL_IN F zero() { return {_mm512_setzero_ps()}; }
IDL_IN F add(F a, F b) { return {_mm512_add_ps(a.v, b.v)}; }
IDL_IN F sub(F a, F b) { return {_mm512_sub_ps(a.v, b.v)}; }
IDL_IN F mul(F a, F b) { return {_mm512_mul_ps(a.v, b.v)}; }
IDL_IN F div(F a, F b) { return {_mm512_div_ps(a.v, b.v)}; }
IDL_IN F max(F a, F b) { return {_mm512_max_ps(a.v, b.v)}; }
IDL_IN F min(F a, F b) { return {_mm512_min_ps(a.v, b.v)}; }
IDL_IN F fma(F a, F b, F c) { return {_mm512_fmadd_ps(a.v, b.v, c.v)}; }
IDL_IN F abs(F a) { return {_mm512_abs_ps(a.v)}; }
IDL_IN float hsum(F a) { return _mm512_reduce_add_ps(a.v); }
IDL_IN float hmax(F a) { return _mm512_reduce_max_ps(a.v); }
IDL_IN F round(F a) { return {_mm512_roundscale_ps(a.v, 8)}; }
IDL_IN F pow2(F n) { return {_mm512_scalef_ps(_mm512_set1_ps(1.0f), n.v)}; }
IDL_IN F load_h(const uint16_t* p) { return {_mm512_cvtph_ps(_mm256_loadu_si256((const __m256i*)p))}; }
IDL_IN void store_h(uint16_t* p, F a) { _mm256_storeu_si256((__m256i*)p, _mm512_cvtps_ph(a.v, 0)); }
IDL_IN F load_b(const uint16_t* p) {
  return {_mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i*)p)), 16))};
}
IDL_IN F load_i8(const int8_t* p) {
  return {_mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128((const __m128i*)p)))};
}
IDL_IN void store_i8(int8_t* p, F a) { _mm_storeu_si128((__m128i*)p, _mm512_cvtsepi32_epi8(_mm512_cvtps_epi32(a.v))); }
IDL_IN I izero() { return {_mm512_setzero_si512()}; }
IDL_IN F to_f(I a) { return {_mm512_cvtepi32_ps(a.v)}; }
IDL_IN W load_w(const uint8_t* p) { return {_mm512_loadu_si512(p)}; }
IDL_IN W low(W w) { return {_mm512_and_si512(w.v, _mm512_set1_epi8(15))}; }
IDL_IN W high(W w) { return {_mm512_and_si512(_mm512_srli_epi16(w.v, 4), _mm512_set1_epi8(15))}; }
IDL_IN I dot(I acc, W w, int32_t a) { return {_mm512_dpbusd_epi32(acc.v, w.v, _mm512_set1_epi32(a))}; }
#define IDL_PLAIN_DOT

#elif defined(IDL_AVX2) || defined(IDL_AVX2VNNI)

struct F { __m256 a, b; };
struct I { __m256i a, b; };
struct W { __m256i a, b; };
IDL_IN F load(const float* p) { return {_mm256_loadu_ps(p), _mm256_loadu_ps(p + 8)}; }
IDL_IN void store(float* p, F x) { _mm256_storeu_ps(p, x.a); _mm256_storeu_ps(p + 8, x.b); }
IDL_IN F set1(float x) { __m256 v = _mm256_set1_ps(x); return {v, v}; }
IDL_IN F zero() { return {_mm256_setzero_ps(), _mm256_setzero_ps()}; }
#define IDL_TWO(name, op) IDL_IN F name(F x, F y) { return {op(x.a, y.a), op(x.b, y.b)}; }
IDL_TWO(add, _mm256_add_ps) IDL_TWO(sub, _mm256_sub_ps) IDL_TWO(mul, _mm256_mul_ps) IDL_TWO(div, _mm256_div_ps)
IDL_TWO(max, _mm256_max_ps) IDL_TWO(min, _mm256_min_ps)
#undef IDL_TWO
IDL_IN F fma(F x, F y, F z) { return {_mm256_fmadd_ps(x.a, y.a, z.a), _mm256_fmadd_ps(x.b, y.b, z.b)}; }
IDL_IN F abs(F x) {
  __m256 m = _mm256_castsi256_ps(_mm256_set1_epi32(0x7fffffff));
  return {_mm256_and_ps(x.a, m), _mm256_and_ps(x.b, m)};
}
IDL_IN float hsum(F x) {
  __m256 s = _mm256_add_ps(x.a, x.b);
  __m128 t = _mm_add_ps(_mm256_castps256_ps128(s), _mm256_extractf128_ps(s, 1));
  t = _mm_add_ps(t, _mm_movehl_ps(t, t));
  return _mm_cvtss_f32(_mm_add_ss(t, _mm_movehdup_ps(t)));
}
IDL_IN float hmax(F x) {
  __m256 s = _mm256_max_ps(x.a, x.b);
  __m128 t = _mm_max_ps(_mm256_castps256_ps128(s), _mm256_extractf128_ps(s, 1));
  t = _mm_max_ps(t, _mm_movehl_ps(t, t));
  return _mm_cvtss_f32(_mm_max_ss(t, _mm_movehdup_ps(t)));
}
IDL_IN F round(F x) { return {_mm256_round_ps(x.a, 8), _mm256_round_ps(x.b, 8)}; }
IDL_IN __m256 pow2_half(__m256 n) {
  __m256i e = _mm256_add_epi32(_mm256_cvtps_epi32(n), _mm256_set1_epi32(127));
  e = _mm256_max_epi32(_mm256_setzero_si256(), _mm256_min_epi32(e, _mm256_set1_epi32(255)));
  return _mm256_castsi256_ps(_mm256_slli_epi32(e, 23));
}
IDL_IN F pow2(F n) { return {pow2_half(n.a), pow2_half(n.b)}; }
IDL_IN F load_h(const uint16_t* p) {
  return {_mm256_cvtph_ps(_mm_loadu_si128((const __m128i*)p)), _mm256_cvtph_ps(_mm_loadu_si128((const __m128i*)(p + 8)))};
}
IDL_IN void store_h(uint16_t* p, F x) {
  _mm_storeu_si128((__m128i*)p, _mm256_cvtps_ph(x.a, 0));
  _mm_storeu_si128((__m128i*)(p + 8), _mm256_cvtps_ph(x.b, 0));
}
IDL_IN __m256 bf_half(const uint16_t* p) {
  return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(_mm_loadu_si128((const __m128i*)p)), 16));
}
IDL_IN F load_b(const uint16_t* p) { return {bf_half(p), bf_half(p + 8)}; }
IDL_IN F load_i8(const int8_t* p) {
  return {_mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64((const __m128i*)p))),
          _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64((const __m128i*)(p + 8))))};
}
IDL_IN void store_i8(int8_t* p, F x) {
  __m256i t = _mm256_packs_epi32(_mm256_cvtps_epi32(x.a), _mm256_cvtps_epi32(x.b));
  t = _mm256_permute4x64_epi64(t, 0xd8);
  __m128i b = _mm_packs_epi16(_mm256_castsi256_si128(t), _mm256_extracti128_si256(t, 1));
  _mm_storeu_si128((__m128i*)p, b);
}
IDL_IN I izero() { return {_mm256_setzero_si256(), _mm256_setzero_si256()}; }
IDL_IN F to_f(I x) { return {_mm256_cvtepi32_ps(x.a), _mm256_cvtepi32_ps(x.b)}; }
IDL_IN W load_w(const uint8_t* p) {
  return {_mm256_loadu_si256((const __m256i*)p), _mm256_loadu_si256((const __m256i*)(p + 32))};
}
IDL_IN W low(W w) {
  __m256i m = _mm256_set1_epi8(15);
  return {_mm256_and_si256(w.a, m), _mm256_and_si256(w.b, m)};
}
IDL_IN W high(W w) {
  __m256i m = _mm256_set1_epi8(15);
  return {_mm256_and_si256(_mm256_srli_epi16(w.a, 4), m), _mm256_and_si256(_mm256_srli_epi16(w.b, 4), m)};
}
#define IDL_FEW_REGISTERS
#if defined(IDL_AVX2VNNI)
IDL_IN I dot(I acc, W w, int32_t a) {
  __m256i v = _mm256_set1_epi32(a);
  return {_mm256_dpbusd_avx_epi32(acc.a, w.a, v), _mm256_dpbusd_avx_epi32(acc.b, w.b, v)};
}
#define IDL_PLAIN_DOT
#else
// Compilers like to compute all products of a block first and to add them as a tree, which spills every register: the
// sum so far is a value that they cannot look into.
#define IDL_IN_ORDER(x) asm("" : "+x"(x.a), "+x"(x.b))
// Without VNNI a product is u8 x s8 pairs into s16. For 4-bit codes a lane of s16 holds a whole block (eight pairs of
// at most 2 * 15 * 127 are 30480), so the multiplication that widens to s32 is paid once a block and not once a product.
struct H { __m256i a, b; };
IDL_IN H hzero() { return {_mm256_setzero_si256(), _mm256_setzero_si256()}; }
IDL_IN H dot4(H acc, W w, int32_t a) {
  __m256i v = _mm256_set1_epi32(a);
  H r{_mm256_add_epi16(acc.a, _mm256_maddubs_epi16(w.a, v)), _mm256_add_epi16(acc.b, _mm256_maddubs_epi16(w.b, v))};
  IDL_IN_ORDER(r);
  return r;
}
IDL_IN I wide(H x) {
  const __m256i one = _mm256_set1_epi16(1);
  return {_mm256_madd_epi16(x.a, one), _mm256_madd_epi16(x.b, one)};
}
// A whole byte as sign and magnitude: |u - 128| is at most 128, so a pair is at most 2 * 128 * 127 = 32512.
constexpr float CENTRE = 128.0f;
struct C { __m256i a, b, size_a, size_b; };
IDL_IN C full(W w) {
  const __m256i top = _mm256_set1_epi8(-128);
  __m256i a = _mm256_xor_si256(w.a, top), b = _mm256_xor_si256(w.b, top);
  return {a, b, _mm256_abs_epi8(a), _mm256_abs_epi8(b)};
}
IDL_IN I dot8(I acc, C w, int32_t a) {
  const __m256i v = _mm256_set1_epi32(a), one = _mm256_set1_epi16(1);
  I r{_mm256_add_epi32(acc.a, _mm256_madd_epi16(_mm256_maddubs_epi16(w.size_a, _mm256_sign_epi8(v, w.a)), one)),
      _mm256_add_epi32(acc.b, _mm256_madd_epi16(_mm256_maddubs_epi16(w.size_b, _mm256_sign_epi8(v, w.b)), one))};
  IDL_IN_ORDER(r);
  return r;
}
#endif

#elif defined(IDL_NEON)

struct F { float32x4_t v[4]; };
struct I { int32x4_t v[4]; };
struct W { uint8x16_t v[4]; };
#define IDL_EACH for (int i = 0; i < 4; i++)
IDL_IN F load(const float* p) { F r; IDL_EACH r.v[i] = vld1q_f32(p + 4 * i); return r; }
IDL_IN void store(float* p, F a) { IDL_EACH vst1q_f32(p + 4 * i, a.v[i]); }
IDL_IN F set1(float x) { F r; IDL_EACH r.v[i] = vdupq_n_f32(x); return r; }
IDL_IN F zero() { return set1(0.0f); }
#define IDL_TWO(name, op) IDL_IN F name(F a, F b) { F r; IDL_EACH r.v[i] = op(a.v[i], b.v[i]); return r; }
IDL_TWO(add, vaddq_f32) IDL_TWO(sub, vsubq_f32) IDL_TWO(mul, vmulq_f32) IDL_TWO(div, vdivq_f32)
IDL_TWO(max, vmaxq_f32) IDL_TWO(min, vminq_f32)
#undef IDL_TWO
IDL_IN F fma(F a, F b, F c) { F r; IDL_EACH r.v[i] = vfmaq_f32(c.v[i], a.v[i], b.v[i]); return r; }
IDL_IN F abs(F a) { F r; IDL_EACH r.v[i] = vabsq_f32(a.v[i]); return r; }
IDL_IN float hsum(F a) { return vaddvq_f32(vaddq_f32(vaddq_f32(a.v[0], a.v[1]), vaddq_f32(a.v[2], a.v[3]))); }
IDL_IN float hmax(F a) { return vmaxvq_f32(vmaxq_f32(vmaxq_f32(a.v[0], a.v[1]), vmaxq_f32(a.v[2], a.v[3]))); }
IDL_IN F round(F a) { F r; IDL_EACH r.v[i] = vrndnq_f32(a.v[i]); return r; }
IDL_IN F pow2(F n) {
  F r;
  IDL_EACH {
    int32x4_t e = vaddq_s32(vcvtq_s32_f32(n.v[i]), vdupq_n_s32(127));
    e = vmaxq_s32(vdupq_n_s32(0), vminq_s32(e, vdupq_n_s32(255)));
    r.v[i] = vreinterpretq_f32_s32(vshlq_n_s32(e, 23));
  }
  return r;
}
IDL_IN F load_h(const uint16_t* p) {
  F r; IDL_EACH r.v[i] = vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(p + 4 * i))); return r;
}
IDL_IN void store_h(uint16_t* p, F a) { IDL_EACH vst1_u16(p + 4 * i, vreinterpret_u16_f16(vcvt_f16_f32(a.v[i]))); }
IDL_IN F load_b(const uint16_t* p) {
  F r; IDL_EACH r.v[i] = vreinterpretq_f32_u32(vshll_n_u16(vld1_u16(p + 4 * i), 16)); return r;
}
IDL_IN F load_i8(const int8_t* p) {
  const int8x16_t b = vld1q_s8(p);
  const int16x8_t x = vmovl_s8(vget_low_s8(b)), y = vmovl_s8(vget_high_s8(b));
  return {{vcvtq_f32_s32(vmovl_s16(vget_low_s16(x))), vcvtq_f32_s32(vmovl_s16(vget_high_s16(x))),
           vcvtq_f32_s32(vmovl_s16(vget_low_s16(y))), vcvtq_f32_s32(vmovl_s16(vget_high_s16(y)))}};
}
IDL_IN void store_i8(int8_t* p, F a) {
  int16x8_t x = vcombine_s16(vqmovn_s32(vcvtnq_s32_f32(a.v[0])), vqmovn_s32(vcvtnq_s32_f32(a.v[1])));
  int16x8_t y = vcombine_s16(vqmovn_s32(vcvtnq_s32_f32(a.v[2])), vqmovn_s32(vcvtnq_s32_f32(a.v[3])));
  vst1q_s8(p, vcombine_s8(vqmovn_s16(x), vqmovn_s16(y)));
}
IDL_IN I izero() { I r; IDL_EACH r.v[i] = vdupq_n_s32(0); return r; }
IDL_IN F to_f(I a) { F r; IDL_EACH r.v[i] = vcvtq_f32_s32(a.v[i]); return r; }
IDL_IN W load_w(const uint8_t* p) { W r; IDL_EACH r.v[i] = vld1q_u8(p + 16 * i); return r; }
IDL_IN W low(W w) { W r; IDL_EACH r.v[i] = vandq_u8(w.v[i], vdupq_n_u8(15)); return r; }
IDL_IN W high(W w) { W r; IDL_EACH r.v[i] = vshrq_n_u8(w.v[i], 4); return r; }
// Dot products are signed here: a whole byte u is taken as u - 128.
using H = I;
IDL_IN H hzero() { return izero(); }
IDL_IN I dot(I acc, W w, int32_t a) {
  const int8x16_t v = vreinterpretq_s8_s32(vdupq_n_s32(a));
  IDL_EACH acc.v[i] = vdotq_s32(acc.v[i], vreinterpretq_s8_u8(w.v[i]), v);
  return acc;
}
IDL_IN H dot4(H acc, W w, int32_t a) { return dot(acc, w, a); }
IDL_IN I wide(H x) { return x; }
constexpr float CENTRE = 128.0f;
using C = W;
IDL_IN C full(W w) { IDL_EACH w.v[i] = veorq_u8(w.v[i], vdupq_n_u8(128)); return w; }
IDL_IN I dot8(I acc, C w, int32_t a) { return dot(acc, w, a); }
#undef IDL_EACH

#else  // portable

struct F { float v[16]; };
struct I { int32_t v[16]; };
struct W { uint8_t v[64]; };
#define IDL_EACH for (int i = 0; i < 16; i++)
IDL_IN F load(const float* p) { F r; std::memcpy(r.v, p, 64); return r; }
IDL_IN void store(float* p, F a) { std::memcpy(p, a.v, 64); }
IDL_IN F set1(float x) { F r; IDL_EACH r.v[i] = x; return r; }
IDL_IN F zero() { return set1(0.0f); }
IDL_IN F add(F a, F b) { IDL_EACH a.v[i] += b.v[i]; return a; }
IDL_IN F sub(F a, F b) { IDL_EACH a.v[i] -= b.v[i]; return a; }
IDL_IN F mul(F a, F b) { IDL_EACH a.v[i] *= b.v[i]; return a; }
IDL_IN F div(F a, F b) { IDL_EACH a.v[i] /= b.v[i]; return a; }
IDL_IN F max(F a, F b) { IDL_EACH a.v[i] = a.v[i] > b.v[i] ? a.v[i] : b.v[i]; return a; }
IDL_IN F min(F a, F b) { IDL_EACH a.v[i] = a.v[i] < b.v[i] ? a.v[i] : b.v[i]; return a; }
IDL_IN F fma(F a, F b, F c) { IDL_EACH c.v[i] += a.v[i] * b.v[i]; return c; }
IDL_IN F abs(F a) { IDL_EACH a.v[i] = std::fabs(a.v[i]); return a; }
IDL_IN float hsum(F a) { float s = 0; IDL_EACH s += a.v[i]; return s; }
IDL_IN float hmax(F a) { float m = a.v[0]; IDL_EACH m = a.v[i] > m ? a.v[i] : m; return m; }
IDL_IN F round(F a) { IDL_EACH a.v[i] = std::nearbyintf(a.v[i]); return a; }
IDL_IN F pow2(F n) { IDL_EACH n.v[i] = std::ldexp(1.0f, (int)n.v[i]); return n; }
IDL_IN float half_to_float(uint16_t h) {
  uint32_t sign = (uint32_t)(h & 0x8000) << 16, mant = h & 0x3ff, exp = (h >> 10) & 31, bits;
  if (exp == 31) bits = sign | 0x7f800000 | (mant << 13);
  else if (exp) bits = sign | ((exp + 112) << 23) | (mant << 13);
  else { float f = std::ldexp((float)mant, -24); return sign ? -f : f; }
  float f; std::memcpy(&f, &bits, 4); return f;
}
IDL_IN uint16_t float_to_half(float f) {
  uint32_t x; std::memcpy(&x, &f, 4);
  uint32_t sign = (x >> 16) & 0x8000; int32_t e = (int32_t)((x >> 23) & 255) - 112; uint32_t m = x & 0x7fffff;
  if (e >= 31) return (uint16_t)(sign | (((x >> 23) & 255) == 255 && m ? 0x7e00 : 0x7c00));
  if (e <= 0) {
    if (e < -10) return (uint16_t)sign;
    m |= 0x800000; int shift = 14 - e; uint32_t r = m >> shift, rest = m & ((1u << shift) - 1), halfway = 1u << (shift - 1);
    if (rest > halfway || (rest == halfway && (r & 1))) r++;
    return (uint16_t)(sign | r);
  }
  uint32_t r = ((uint32_t)e << 10) | (m >> 13), rest = m & 0x1fff;
  if (rest > 0x1000 || (rest == 0x1000 && (r & 1))) r++;
  return (uint16_t)(sign | r);
}
IDL_IN F load_h(const uint16_t* p) { F r; IDL_EACH r.v[i] = half_to_float(p[i]); return r; }
IDL_IN void store_h(uint16_t* p, F a) { IDL_EACH p[i] = float_to_half(a.v[i]); }
IDL_IN F load_b(const uint16_t* p) {
  F r; IDL_EACH { uint32_t b = (uint32_t)p[i] << 16; std::memcpy(&r.v[i], &b, 4); } return r;
}
IDL_IN F load_i8(const int8_t* p) { F r; IDL_EACH r.v[i] = (float)p[i]; return r; }
IDL_IN void store_i8(int8_t* p, F a) { IDL_EACH { float x = std::nearbyintf(a.v[i]); p[i] = (int8_t)(x > 127 ? 127 : x < -128 ? -128 : x); } }
IDL_IN I izero() { I r; IDL_EACH r.v[i] = 0; return r; }
IDL_IN F to_f(I a) { F r; IDL_EACH r.v[i] = (float)a.v[i]; return r; }
IDL_IN W load_w(const uint8_t* p) { W r; std::memcpy(r.v, p, 64); return r; }
IDL_IN W low(W w) { for (int i = 0; i < 64; i++) w.v[i] &= 15; return w; }
IDL_IN W high(W w) { for (int i = 0; i < 64; i++) w.v[i] >>= 4; return w; }
IDL_IN I dot(I acc, W w, int32_t a) {
  int8_t b[4]; std::memcpy(b, &a, 4);
  IDL_EACH for (int j = 0; j < 4; j++) acc.v[i] += (int32_t)w.v[4 * i + j] * b[j];
  return acc;
}
#define IDL_PLAIN_DOT
#undef IDL_EACH

#endif

#if defined(IDL_PLAIN_DOT)  // one instruction for every code
using H = I;
IDL_IN H hzero() { return izero(); }
IDL_IN H dot4(H acc, W w, int32_t a) { return dot(acc, w, a); }
IDL_IN I wide(H x) { return x; }
constexpr float CENTRE = 0.0f;
using C = W;
IDL_IN C full(W w) { return w; }
IDL_IN I dot8(I acc, C w, int32_t a) { return dot(acc, w, a); }
#endif

// How many rows of activations a kernel takes through a tile at once, so that its sums stay in registers. (A
// row's order of additions is the same whatever its company.)
#if defined(IDL_FEW_REGISTERS)
constexpr int TILE_ROWS = 4, SCORE_ROWS = 6, VALUE_ROWS = 6, VALUE_COLUMNS = 1;
#else
constexpr int TILE_ROWS = 8, SCORE_ROWS = 8, VALUE_ROWS = 4, VALUE_COLUMNS = 4;
#endif

// e^x by range reduction to |r| <= ln2/2 and a degree-6 polynomial (relative error below 4e-7).
IDL_IN F exp(F x) {
  x = max(min(x, set1(88.0f)), set1(-87.0f));
  F n = round(mul(x, set1(1.44269504088896341f)));
  F r = fma(n, set1(-0.693359375f), x);
  r = fma(n, set1(2.12194440e-4f), r);
  F p = set1(1.9875691500e-4f);
  p = fma(p, r, set1(1.3981999507e-3f));
  p = fma(p, r, set1(8.3334519073e-3f));
  p = fma(p, r, set1(4.1665795894e-2f));
  p = fma(p, r, set1(1.6666665459e-1f));
  p = fma(p, r, set1(5.0000001201e-1f));
  p = fma(mul(r, r), p, add(r, set1(1.0f)));
  return mul(p, pow2(n));
}

}  // namespace IDL_NAME
}  // namespace idl
