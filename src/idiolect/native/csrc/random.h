// The random number behind a token: engine/sampling/draw.py in C++, bit for bit. BLAKE2b (RFC 7693) of one block, with a
// digest of eight bytes and the personalisation "idiolect-draw".
#pragma once
#include <cstdint>
#include <cstring>

namespace idl {

inline uint64_t blake2b_block(const uint64_t message[16], uint64_t bytes, const char person[16]) {
  static const uint64_t iv[8] = {0x6a09e667f3bcc908u, 0xbb67ae8584caa73bu, 0x3c6ef372fe94f82bu, 0xa54ff53a5f1d36f1u,
                                 0x510e527fade682d1u, 0x9b05688c2b3e6c1fu, 0x1f83d9abfb41bd6bu, 0x5be0cd19137e2179u};
  static const uint8_t sigma[10][16] = {
      {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15}, {14, 10, 4, 8, 9, 15, 13, 6, 1, 12, 0, 2, 11, 7, 5, 3},
      {11, 8, 12, 0, 5, 2, 15, 13, 10, 14, 3, 6, 7, 1, 9, 4}, {7, 9, 3, 1, 13, 12, 11, 14, 2, 6, 5, 10, 4, 0, 15, 8},
      {9, 0, 5, 7, 2, 4, 10, 15, 14, 1, 11, 12, 6, 8, 3, 13}, {2, 12, 6, 10, 0, 11, 8, 3, 4, 13, 7, 5, 15, 14, 1, 9},
      {12, 5, 1, 15, 14, 13, 4, 10, 0, 7, 6, 3, 9, 2, 8, 11}, {13, 11, 7, 14, 12, 1, 3, 9, 5, 0, 15, 4, 8, 6, 2, 10},
      {6, 15, 14, 9, 11, 3, 0, 8, 12, 2, 13, 7, 1, 4, 10, 5}, {10, 2, 8, 4, 7, 6, 1, 5, 15, 11, 9, 14, 3, 12, 13, 0}};
  uint64_t h[8], v[16], named[2];
  std::memcpy(named, person, 16);
  std::memcpy(h, iv, sizeof h);
  h[0] ^= 0x01010000u ^ 8u;  // one node, digest of eight bytes
  h[6] ^= named[0];
  h[7] ^= named[1];
  std::memcpy(v, h, sizeof h);
  std::memcpy(v + 8, iv, sizeof iv);
  v[12] ^= bytes;
  v[14] = ~v[14];  // the only block is the last one
  const auto turn = [](uint64_t x, int by) { return x >> by | x << (64 - by); };
  const auto mix = [&](int a, int b, int c, int d, uint64_t x, uint64_t y) {
    v[a] += v[b] + x, v[d] = turn(v[d] ^ v[a], 32), v[c] += v[d], v[b] = turn(v[b] ^ v[c], 24);
    v[a] += v[b] + y, v[d] = turn(v[d] ^ v[a], 16), v[c] += v[d], v[b] = turn(v[b] ^ v[c], 63);
  };
  for (int round = 0; round < 12; round++) {
    const uint8_t* s = sigma[round % 10];
    for (int i = 0; i < 4; i++) mix(i, i + 4, i + 8, i + 12, message[s[2 * i]], message[s[2 * i + 1]]);
    for (int i = 0; i < 4; i++) mix(i, (i + 1) % 4 + 4, (i + 2) % 4 + 8, (i + 3) % 4 + 12, message[s[8 + 2 * i]], message[s[9 + 2 * i]]);
  }
  return h[0] ^ v[0] ^ v[8];
}

// In [0, 1), with 53 random bits.
inline double uniform(uint64_t seed, int64_t choice, uint64_t index) {
  const uint64_t message[16] = {seed, (uint64_t)choice, index};
  return (double)(blake2b_block(message, 24, "idiolect-draw\0\0") >> 11) * 0x1p-53;
}

}  // namespace idl
