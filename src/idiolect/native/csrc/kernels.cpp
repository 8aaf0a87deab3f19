// Every kernel, written once over the sixteen lanes of vec.h and compiled once per instruction set.
#include "kernels.h"

#include <algorithm>
#include <functional>

#include "random.h"
#include "vec.h"

namespace idl {
namespace IDL_NAME {

#include "dense.inl"

#include "matmul.inl"

#include "elementwise.inl"

#include "attend.inl"

#include "choose.inl"

#include "measure.inl"

#include "lowrank.inl"

static const Kernels table = {
#define IDL_TEXT2(x) #x
#define IDL_TEXT(x) IDL_TEXT2(x)
    IDL_TEXT(IDL_NAME), quantize, quantize_half, interleave, tile, rmsnorm, layernorm, silu,
    relu, gelu, add_to, multiply, emit, rope, store_k, store_v, store_k8, store_v8, attend, choose, decode_row,
    read_all, multiply_adds, dots, low_rank};

}  // namespace IDL_NAME

#define IDL_JOIN2(a, b) a##b
#define IDL_JOIN(a, b) IDL_JOIN2(a, b)
const Kernels* IDL_JOIN(kernels_, IDL_NAME)() { return &IDL_NAME::table; }

}  // namespace idl
