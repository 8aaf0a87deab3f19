// The table of kernels that every instruction set fills in. Plain types only: no torch, no C++ library in the interface.
#pragma once
#include <cstdint>

#include "api.h"

namespace idl {

// How the weights of a tile are stored. A tile is sixteen rows; k runs in blocks of 32. Every quantised kind is
//   w[row][k] = s[row][block] * u[row][k] + b[row][block],   u unsigned, s and b fp16,
// which covers GGUF's Q4_0 .. Q6_K and int8 alike; dense kinds are [k][16]. Where b is always the same multiple of s (the
// middle of the codes: Q4_0, Q5_0, Q8_0) it is not stored, so that such a file is no larger here than on disk.
enum Kind : int32_t {
  Q4C = 0,  // 256 bytes of nibbles (k groups 0-3 low, 4-7 high), s[16]; b = -8 s
  Q4 = 1,   // the same and b[16]
  Q8C = 2,  // 512 bytes, s[16]; b = -128 s
  Q8 = 3,   // 512 bytes, s[16], b[16]
  Q8H = 4,  // 512 bytes, s[2][16], b[2][16]: a scale per 16 values (Q6_K)
  BF16 = 5,
  F32 = 6,
  F16 = 7,
  KINDS = 8
};

// Bytes of one (tile, block of 32) cell.
inline int64_t cell_bytes(int kind) {
  const int64_t bytes[KINDS] = {288, 320, 544, 576, 640, 32 * 16 * 2, 32 * 16 * 4, 32 * 16 * 2};
  return bytes[kind];
}
inline bool four_bits(int kind) { return kind <= Q4; }
inline float middle(int kind) { return kind == Q4C ? 8.0f : kind == Q8C ? 128.0f : 0.0f; }  // 0: b is stored

struct AttendArgs {
  const float* q;        // row r = token * group + g lives at q + token * q_stride + g * dim
  int64_t q_stride;
  float* out;            // same layout, out_stride
  int64_t out_stride;
  int tokens, group, dim, kv_heads, head;
  const void* k;         // [page][kv_heads][dim][page_size], fp16 or int8
  const void* v;         // [page][kv_heads][page_size][dim]
  const float* k_scales; // int8: [page][kv_heads][page_size]; fp16: null
  const float* v_scales;
  const int32_t* table;  // page of each page_size positions
  int page_size;
  int total;             // context length, this batch's tokens included
  const int32_t* pos;    // position of each query token
  int causal, window;    // window 0: none
  float scale;
  float* scratch;        // [tokens * group][round16(total)]
};

struct ChooseArgs {
  const float* logits;  // [n]
  int n;
  const idl_choice* how;
  int32_t* token;
  float* norm;          // these three when `how` wants them
  int32_t* top_ids;
  float* top_logprobs;
  void* scratch;        // choose_bytes(n), aligned
};

inline int64_t choose_bytes(int n) { return (int64_t)((n + 63) / 64) * (8 + 64 * 4 + 4 + 4 + 64 * 4); }

struct Kernels {
  const char* name;
  // Quantise the blocks [from, to) of mb rows of k floats: a [blocks][8][mb] int32 lanes of four int8, d and ds
  // [blocks][mb] (scale; scale * sum).
  void (*quantize)(const float* x, int64_t stride, int mb, int k, int from, int to, int32_t* a, float* d, float* ds);
  // The same two halves of a block apart, for Q8H: ds is [blocks][2][mb].
  void (*quantize_half)(const float* x, int64_t stride, int mb, int k, int from, int to, int32_t* a, float* d, float* ds);
  void (*interleave)(const float* x, int64_t stride, int mb, int k, int from, int to, float* a);  // [blocks * 32][mb]
  // out[m * 16 + row] for one tile and mb rows of activations; fresh: the tile comes from memory.
  void (*tile)(int kind, int mb, const uint8_t* w, int blocks, const void* a, const float* d, const float* ds, float* out,
               int fresh);
  void (*rmsnorm)(const float* x, const float* w, float* y, int n, float eps, float offset);
  void (*layernorm)(const float* x, const float* w, const float* b, float* y, int n, float eps);
  void (*silu)(const float* x, float* y, int n);
  void (*relu)(const float* x, float* y, int n);
  void (*gelu)(const float* x, float* y, int n, int tanh_form);
  void (*add)(float* y, const float* x, int n);
  void (*multiply)(float* y, const float* x, int n);
  void (*emit)(float* out, int64_t stride, const float* y, int rows, int valid, int sum);
  void (*rope)(float* x, const float* cos, const float* sin, int half);
  void (*store_k)(uint16_t* k, int64_t stride, const float* x, int dim);
  void (*store_v)(uint16_t* v, const float* x, int dim);
  float (*store_k8)(int8_t* k, int64_t stride, const float* x, int dim);  // returns the scale
  float (*store_v8)(int8_t* v, const float* x, int dim);
  void (*attend)(const AttendArgs& a);
  void (*choose)(const ChooseArgs& a);
  void (*decode_row)(int kind, const uint8_t* tile, int lane, int blocks, float* y);  // one row of a tile to floats
  float (*read_all)(const float* p, int64_t n);             // measure.inl
  int64_t (*multiply_adds)(int bits, int64_t rounds);
  void (*dots)(const float* x, const float* a, int n, int k, float* out);          // out[j] = a[j] . x
  void (*low_rank)(float* y, const float* b, const float* low, int n);             // y[16] += low[n] b[n][16]
};

const Kernels* kernels_in_use();  // null: none for this processor
const Kernels* kernels_portable();
const Kernels* kernels_avx2();
const Kernels* kernels_avx2vnni();
const Kernels* kernels_avx512();
const Kernels* kernels_neon();

}  // namespace idl
