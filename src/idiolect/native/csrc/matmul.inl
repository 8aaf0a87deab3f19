// Activations to int8, and tiles of weights times them. Part of kernels.cpp.
// ---------------------------------------------------------------------------------------------- activations to int8

template <bool HALF>
static void quantize_rows(const float* x, int64_t stride, int mb, int k, int from, int to, int32_t* a, float* d, float* ds) {
  float tail[32];
  for (int m = 0; m < mb; m++) {
    const float* row = x + m * stride;
    for (int b = from; b < to; b++) {
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

static void quantize(const float* x, int64_t stride, int mb, int k, int from, int to, int32_t* a, float* d, float* ds) {
  quantize_rows<false>(x, stride, mb, k, from, to, a, d, ds);
}
static void quantize_half(const float* x, int64_t stride, int mb, int k, int from, int to, int32_t* a, float* d, float* ds) {
  quantize_rows<true>(x, stride, mb, k, from, to, a, d, ds);
}

static void interleave(const float* x, int64_t stride, int mb, int k, int from, int to, float* a) {
  for (int m = 0; m < mb; m++)
    for (int i = 32 * from; i < 32 * to; i++) a[(int64_t)i * mb + m] = i < k ? x[m * stride + i] : 0.0f;
}

// ------------------------------------------------------------------------------------------------------ tile products

// With few rows the weights' way from memory is what a product waits for, and a processor's own prefetching stops at every
// page: ask for what comes 2 KB later, when a tile is read for the first time (`fresh`).
template <int BYTES>
IDL_IN void ahead(const uint8_t* w) {
#pragma GCC unroll 10
  for (int line = 0; line < BYTES; line += 64) __builtin_prefetch(w + 2048 + line);
}

// MB rows of activations that lie in a block of LD; `a`, `d`, `ds` and `out` point to the first of them. CENTRED: the
// offset is the middle of the codes times the scale and is not stored.
template <int MB, int LD, bool CENTRED>
static void tile_q4(const uint8_t* w, int blocks, const int32_t* a, const float* d, const float* ds, float* out, bool fresh) {
  F total[MB];
  for (int m = 0; m < MB; m++) total[m] = zero();
  constexpr int CELL = CENTRED ? 288 : 320;
  for (int b = 0; b < blocks; b++, w += CELL, a += 8 * LD, d += LD, ds += LD) {
    if (fresh) ahead<CELL>(w);
    H acc[MB];
    for (int m = 0; m < MB; m++) acc[m] = hzero();
#pragma GCC unroll 4
    for (int g = 0; g < 4; g++) {
      W codes = load_w(w + 64 * g), lo = low(codes), hi = high(codes);
#pragma GCC unroll 8
      for (int m = 0; m < MB; m++) acc[m] = dot4(acc[m], lo, a[g * LD + m]);
#pragma GCC unroll 8
      for (int m = 0; m < MB; m++) acc[m] = dot4(acc[m], hi, a[(g + 4) * LD + m]);
    }
    const F s = load_h((const uint16_t*)(w + 256));
    const F z = CENTRED ? mul(s, set1(-8.0f)) : load_h((const uint16_t*)(w + 288));
#pragma GCC unroll 8
    for (int m = 0; m < MB; m++) {
      total[m] = fma(mul(s, set1(d[m])), to_f(wide(acc[m])), total[m]);
      total[m] = fma(z, set1(ds[m]), total[m]);
    }
  }
  for (int m = 0; m < MB; m++) store(out + 16 * m, total[m]);
}

// Whole bytes; PARTS scales (and offsets, unless CENTRED) a block.
template <int MB, int LD, int PARTS, bool CENTRED>
static void tile_q8(const uint8_t* w, int blocks, const int32_t* a, const float* d, const float* ds, float* out, bool fresh) {
  F total[MB];
  for (int m = 0; m < MB; m++) total[m] = zero();
  constexpr int CELL = 512 + (CENTRED ? 32 : 64) * PARTS;
  for (int b = 0; b < blocks; b++, w += CELL, a += 8 * LD, d += LD, ds += PARTS * LD) {
    if (fresh) ahead<CELL>(w);
    for (int part = 0; part < PARTS; part++) {
      I acc[MB];
      for (int m = 0; m < MB; m++) acc[m] = izero();
#pragma GCC unroll 8
      for (int i = 0; i < 8 / PARTS; i++) {
        const int g = part * (8 / PARTS) + i;
        C codes = full(load_w(w + 64 * g));
#pragma GCC unroll 8
        for (int m = 0; m < MB; m++) acc[m] = dot8(acc[m], codes, a[g * LD + m]);
      }
      const uint8_t* scales = w + 512 + 32 * part;
      const F s = load_h((const uint16_t*)scales);
      F z = CENTRED ? mul(s, set1(CENTRE - 128.0f)) : load_h((const uint16_t*)(scales + 32 * PARTS));
      if (CENTRE != 0 && !CENTRED) z = fma(set1(CENTRE), s, z);
#pragma GCC unroll 8
      for (int m = 0; m < MB; m++) {
        total[m] = fma(mul(s, set1(d[m])), to_f(acc[m]), total[m]);
        if (!CENTRED || CENTRE != 128) total[m] = fma(z, set1(ds[part * LD + m]), total[m]);
      }
    }
  }
  for (int m = 0; m < MB; m++) store(out + 16 * m, total[m]);
}

template <int MB, int LD>
static void tile_part(int kind, const uint8_t* w, int blocks, const int32_t* a, const float* d, const float* ds, float* out, bool fresh) {
  switch (kind) {
    case Q4C: tile_q4<MB, LD, true>(w, blocks, a, d, ds, out, fresh); break;
    case Q4: tile_q4<MB, LD, false>(w, blocks, a, d, ds, out, fresh); break;
    case Q8C: tile_q8<MB, LD, 1, true>(w, blocks, a, d, ds, out, fresh); break;
    case Q8: tile_q8<MB, LD, 1, false>(w, blocks, a, d, ds, out, fresh); break;
    default: tile_q8<MB, LD, 2, false>(w, blocks, a, d, ds, out, fresh); break;
  }
}

// A block of LD rows: TILE_ROWS of them at a time where codes are multiplied; floats cut it as they need (dense.inl).
template <int LD, int FROM = 0>
static void tile_mb(int kind, const uint8_t* w, int blocks, const void* a, const float* d, const float* ds, float* out, bool fresh) {
  constexpr int MB = LD - FROM < TILE_ROWS ? LD - FROM : TILE_ROWS;
  switch (kind) {
    case Q4C: case Q4: case Q8C: case Q8: case Q8H:
      tile_part<MB, LD>(kind, w, blocks, (const int32_t*)a + FROM, d + FROM, ds + FROM, out + 16 * FROM, fresh);
      if constexpr (FROM + MB < LD) tile_mb<LD, FROM + MB>(kind, w, blocks, a, d, ds, out, false);
      break;
    case BF16: tile_dense<LD, BF16>(w, blocks, (const float*)a, out); break;
    case F16: tile_dense<LD, F16>(w, blocks, (const float*)a, out); break;
    default: tile_dense<LD, F32>(w, blocks, (const float*)a, out); break;
  }
}

static void tile(int kind, int mb, const uint8_t* w, int blocks, const void* a, const float* d, const float* ds, float* out, int fresh) {
  switch (mb) {
    case 1: tile_mb<1>(kind, w, blocks, a, d, ds, out, fresh); break;
    case 2: tile_mb<2>(kind, w, blocks, a, d, ds, out, fresh); break;
    case 3: tile_mb<3>(kind, w, blocks, a, d, ds, out, fresh); break;
    case 4: tile_mb<4>(kind, w, blocks, a, d, ds, out, fresh); break;
    case 5: tile_mb<5>(kind, w, blocks, a, d, ds, out, fresh); break;
    case 6: tile_mb<6>(kind, w, blocks, a, d, ds, out, fresh); break;
    case 7: tile_mb<7>(kind, w, blocks, a, d, ds, out, fresh); break;
    default: tile_mb<8>(kind, w, blocks, a, d, ds, out, fresh); break;
  }
}

static void decode_row(int kind, const uint8_t* w, int lane, int blocks, float* y) {
  for (int b = 0; b < blocks; b++, w += cell_bytes(kind), y += 32) {
    if (kind >= BF16) {
      alignas(64) float row[16];
      for (int i = 0; i < 32; i++) {
        const uint8_t* p = w + (int64_t)i * (kind == F32 ? 64 : 32);
        store(row, kind == F32 ? load_dense<F32>(p) : kind == F16 ? load_dense<F16>(p) : load_dense<BF16>(p));
        y[i] = row[lane];
      }
      continue;
    }
    alignas(64) float s[32], z[32];
    const uint16_t* scales = (const uint16_t*)(w + (four_bits(kind) ? 256 : 512));
    const int parts = kind == Q8H ? 2 : 1;
    const float centre = middle(kind);
    for (int h = 0; h < parts; h++) {
      store(s + 16 * h, load_h(scales + 16 * h));
      store(z + 16 * h, centre ? mul(load_h(scales + 16 * h), set1(-centre)) : load_h(scales + 16 * (parts + h)));
    }
    for (int i = 0; i < 32; i++) {
      const int g = i / 4, j = i % 4, h = kind == Q8H ? i / 16 : 0;
      int u = four_bits(kind) ? (w[64 * (g & 3) + 4 * lane + j] >> (g < 4 ? 0 : 4)) & 15 : w[64 * g + 4 * lane + j];
      y[i] = s[16 * h + lane] * (float)u + z[16 * h + lane];
    }
  }
}
