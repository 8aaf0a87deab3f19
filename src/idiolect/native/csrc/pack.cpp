// Weights in, tiles out. Each GGUF block of 32 becomes unsigned codes with a scale and an offset per row (kernels.h).
#include <cmath>
#include <cstdint>
#include <cstring>
#include <vector>

#include "api.h"
#include "kernels.h"

namespace idl {

static float half(const uint8_t* p) {
  uint16_t h;
  std::memcpy(&h, p, 2);
  uint32_t sign = (uint32_t)(h & 0x8000) << 16, mant = h & 0x3ff, exp = (h >> 10) & 31, bits;
  if (exp == 31) bits = sign | 0x7f800000 | (mant << 13);
  else if (exp) bits = sign | ((exp + 112) << 23) | (mant << 13);
  else { float f = std::ldexp((float)mant, -24); return sign ? -f : f; }
  float f;
  std::memcpy(&f, &bits, 4);
  return f;
}

static uint16_t to_half(float f) {
  uint32_t x;
  std::memcpy(&x, &f, 4);
  uint32_t sign = (x >> 16) & 0x8000, m = x & 0x7fffff;
  int32_t e = (int32_t)((x >> 23) & 255) - 112;
  if (e >= 31) return (uint16_t)(sign | 0x7c00);
  if (e <= 0) {
    if (e < -10) return (uint16_t)sign;
    m |= 0x800000;
    int shift = 14 - e;
    uint32_t r = m >> shift, rest = m & ((1u << shift) - 1), mid = 1u << (shift - 1);
    if (rest > mid || (rest == mid && (r & 1))) r++;
    return (uint16_t)(sign | r);
  }
  uint32_t r = ((uint32_t)e << 10) | (m >> 13), rest = m & 0x1fff;
  if (rest > 0x1000 || (rest == 0x1000 && (r & 1))) r++;
  return (uint16_t)(sign | r);
}

// Codes, scales and offsets of one block of 32 values of one row; `halves`: one scale and offset per 16 values.
struct Block {
  uint8_t u[32];
  float s[2], z[2];
  int centre = 0;  // z is -centre * s exactly; 0: z is a number of its own
  bool halves = false;
};

// GGUF tensor types (ggml.h's public numbering).
enum Type { T_F32 = 0, T_F16 = 1, T_Q4_0 = 2, T_Q4_1 = 3, T_Q5_0 = 6, T_Q5_1 = 7, T_Q8_0 = 8, T_Q4_K = 12, T_Q5_K = 13, T_Q6_K = 14, T_BF16 = 30 };

static void k_scale(const uint8_t* q, int j, int& d, int& m) {  // six-bit scale and minimum j of a K block
  if (j < 4) {
    d = q[j] & 63;
    m = q[j + 4] & 63;
  } else {
    d = (q[j + 4] & 15) | ((q[j - 4] >> 6) << 4);
    m = (q[j + 4] >> 4) | ((q[j] >> 6) << 4);
  }
}

static void read_block(int type, const uint8_t* row, int b, Block& o) {
  o.centre = 0;
  switch (type) {
    case T_Q4_0: {
      const uint8_t* p = row + 18 * b;
      float d = half(p);
      for (int i = 0; i < 16; i++) { o.u[i] = p[2 + i] & 15; o.u[i + 16] = p[2 + i] >> 4; }
      o.s[0] = d; o.centre = 8;
      break;
    }
    case T_Q4_1: {
      const uint8_t* p = row + 20 * b;
      for (int i = 0; i < 16; i++) { o.u[i] = p[4 + i] & 15; o.u[i + 16] = p[4 + i] >> 4; }
      o.s[0] = half(p); o.z[0] = half(p + 2);
      break;
    }
    case T_Q5_0:
    case T_Q5_1: {
      const int head = type == T_Q5_0 ? 2 : 4;
      const uint8_t* p = row + (head + 20) * b;
      uint32_t high;
      std::memcpy(&high, p + head, 4);
      for (int i = 0; i < 16; i++) {
        uint8_t c = p[head + 4 + i];
        o.u[i] = (c & 15) | (((high >> i) & 1) << 4);
        o.u[i + 16] = (c >> 4) | (((high >> (i + 16)) & 1) << 4);
      }
      o.s[0] = half(p);
      if (type == T_Q5_0) o.centre = 16;
      else o.z[0] = half(p + 2);
      break;
    }
    case T_Q8_0: {
      const uint8_t* p = row + 34 * b;
      for (int i = 0; i < 32; i++) o.u[i] = p[2 + i] ^ 128;
      o.s[0] = half(p); o.centre = 128;
      break;
    }
    case T_Q4_K:
    case T_Q5_K: {
      const bool five = type == T_Q5_K;
      const uint8_t* p = row + (five ? 176 : 144) * (b / 8);
      const int j = b % 8;
      int sc, mn;
      k_scale(p + 4, j, sc, mn);
      const uint8_t* qh = p + 16;
      const uint8_t* q = p + (five ? 48 : 16) + 32 * (j / 2);
      for (int i = 0; i < 32; i++) {
        o.u[i] = j % 2 ? q[i] >> 4 : q[i] & 15;
        if (five) o.u[i] |= ((qh[i] >> j) & 1) << 4;
      }
      o.s[0] = half(p) * sc; o.z[0] = -half(p + 2) * mn;
      break;
    }
    case T_Q6_K: {
      const uint8_t* p = row + 210 * (b / 8);
      const int j = b % 8, part = j / 4, quarter = j % 4;  // 128 values a part, 32 a quarter
      const uint8_t* ql = p + 64 * part + (quarter % 2) * 32;
      const uint8_t* qh = p + 128 + 32 * part;
      const int8_t* sc = (const int8_t*)(p + 192) + 8 * part + 2 * quarter;
      float d = half(p + 208);
      for (int i = 0; i < 32; i++) {
        uint8_t lo = quarter < 2 ? ql[i] & 15 : ql[i] >> 4;
        o.u[i] = lo | (((qh[i] >> (2 * quarter)) & 3) << 4);
      }
      for (int h = 0; h < 2; h++) { o.s[h] = d * sc[h]; o.z[h] = -32 * o.s[h]; }
      o.halves = true;
      break;
    }
  }
  if (o.centre) o.z[0] = -o.centre * o.s[0];
}

static uint16_t to_bfloat(float f) {
  uint32_t bits;
  std::memcpy(&bits, &f, 4);
  return (uint16_t)((bits + 0x7fff + ((bits >> 16) & 1)) >> 16);
}

static void read_floats(int type, const uint8_t* row, int k, float* y) {
  if (type == T_F32) {
    std::memcpy(y, row, sizeof(float) * k);
  } else if (type == T_F16) {
    for (int i = 0; i < k; i++) y[i] = half(row + 2 * i);
  } else if (type == T_BF16) {
    for (int i = 0; i < k; i++) {
      uint32_t bits = (uint32_t)((const uint16_t*)row)[i] << 16;
      std::memcpy(y + i, &bits, 4);
    }
  } else {
    const int parts = type == T_Q6_K ? 2 : 1;
    Block b;
    for (int j = 0; j < (k + 31) / 32; j++) {
      read_block(type, row, j, b);
      for (int i = 0; i < 32; i++) y[32 * j + i] = b.s[parts * i / 32] * b.u[i] + b.z[parts * i / 32];
    }
  }
}

// Round a block to nearest: sixteen levels between its least and its largest value, or 255 around zero.
static void quantise(int kind, const float* x, Block& o) {
  float low = x[0], top = x[0];
  for (int i = 1; i < 32; i++) {
    low = std::fmin(low, x[i]);
    top = std::fmax(top, x[i]);
  }
  const bool four = four_bits(kind);
  const int levels = four ? 15 : 255, shift = four ? 0 : 128;
  if (!four) {
    top = std::fmax(std::fabs(low), std::fabs(top));
    low = 0;
  }
  const uint16_t least = to_half(low);
  low = half((const uint8_t*)&least);
  const uint16_t scale = to_half(four ? (top - low) / 15 : top / 127);
  const float s = half((const uint8_t*)&scale), inverse = s > 0 ? 1 / s : 0;
  for (int i = 0; i < 32; i++) {
    const int u = (int)std::nearbyintf((x[i] - low) * inverse) + shift;
    o.u[i] = (uint8_t)(u < 0 ? 0 : u > levels ? levels : u);
  }
  o.s[0] = s;
  o.z[0] = four ? low : -128 * s;
  o.centre = four ? 0 : 128;
}

static void put(int kind, uint8_t* cell, int lane, const Block& o) {
  uint16_t* scales = (uint16_t*)(cell + (four_bits(kind) ? 256 : 512));
  const int parts = kind == Q8H ? 2 : 1, centre = (int)middle(kind), shift = centre ? centre - o.centre : 0;
  for (int h = 0; h < parts; h++) {
    scales[16 * h + lane] = to_half(o.s[o.halves ? h : 0]);
    if (!centre) scales[16 * (parts + h) + lane] = to_half(o.z[o.halves ? h : 0]);
  }
  if (four_bits(kind)) {
    for (int g = 0; g < 4; g++)
      for (int j = 0; j < 4; j++) cell[64 * g + 4 * lane + j] = o.u[4 * g + j] | (o.u[4 * (g + 4) + j] << 4);
  } else {
    for (int g = 0; g < 8; g++)
      for (int j = 0; j < 4; j++) cell[64 * g + 4 * lane + j] = (uint8_t)(o.u[4 * g + j] + shift);
  }
}

}  // namespace idl

using namespace idl;

int64_t idl_packed_bytes(int kind, int rows, int k) {
  return (int64_t)((rows + 15) / 16) * ((k + 31) / 32) * cell_bytes(kind);
}

int idl_pack_kind(int type) {
  switch (type) {
    case T_Q4_0: return Q4C;
    case T_Q4_1: case T_Q4_K: return Q4;
    case T_Q5_0: case T_Q8_0: return Q8C;
    case T_Q5_1: case T_Q5_K: return Q8;
    case T_Q6_K: return Q8H;
    case T_BF16: return BF16;
    case T_F16: return F16;
    case T_F32: return F32;
    default: return -1;
  }
}

int idl_pack(int kind, int type, const void* src, int64_t row_bytes, int k, const int32_t* row_map, int rows, void* dst) {
  const int natural = idl_pack_kind(type), blocks = (k + 31) / 32;
  if (natural < 0 || kind < 0 || kind >= KINDS) return -1;
  const int64_t cell = cell_bytes(kind);
  // Four bits fit into eight, one scale into two, and a middle is an offset like any other, so those keep every bit; the
  // rest goes through floats.
  const bool exact = natural <= kind && kind <= Q8H && !(natural == Q4 && kind == Q8C);
  if (kind == Q4C && !exact) return -1;  // sixteen levels around a middle: nothing is rounded to these
  std::vector<float> values((size_t)blocks * 32, 0.0f);
  for (int r = 0; r < rows; r++) {
    if (row_map[r] < 0) continue;
    const uint8_t* row = (const uint8_t*)src + row_bytes * row_map[r];
    uint8_t* tile = (uint8_t*)dst + (int64_t)(r / 16) * blocks * cell;
    const int lane = r % 16;
    Block b;
    if (exact) {
      for (int j = 0; j < blocks; j++) {
        read_block(type, row, j, b);
        put(kind, tile + j * cell, lane, b);
      }
    } else if (kind == natural && kind != F32) {
      for (int i = 0; i < k; i++) ((uint16_t*)tile)[(int64_t)i * 16 + lane] = ((const uint16_t*)row)[i];
    } else {
      read_floats(type, row, k, values.data());
      if (kind <= Q8H) {
        for (int j = 0; j < blocks; j++) {
          quantise(kind, values.data() + 32 * j, b);
          put(kind, tile + j * cell, lane, b);
        }
      } else {
        for (int i = 0; i < k; i++) {
          const int64_t at = (int64_t)i * 16 + lane;
          if (kind == F32) ((float*)tile)[at] = values[i];
          else ((uint16_t*)tile)[at] = kind == BF16 ? to_bfloat(values[i]) : to_half(values[i]);
        }
      }
    }
  }
  return 0;
}
