// The plain C interface. Python fills these structs through ctypes; nothing here knows torch.
#pragma once
#include <cstdint>

extern "C" {

enum { IDL_ABI = 5 };

enum idl_op_kind {
  IDL_EMBED = 1,   // out[row] = table row ids[row] (+ positions[pos[row] + first]) (+ extra row)
  IDL_NORM = 2,    // out = norm(in)
  IDL_PREP = 3,    // activations for the next LINEAR: norm (or not) of `in`, quantised or interleaved
  IDL_LINEAR = 4,  // out = epilogue(activations x matrix + bias)
  IDL_ROPE = 5,    // q and k of `in` normed (optional) and rotated, k and v into the cache
  IDL_ATTEND = 6,  // out = attention of `in`'s q over the cache
  IDL_GATHER = 7,  // out[i] = in[out_rows[i]]
  IDL_CHOOSE = 8,  // chosen[i] from logits[i], as choices[i] says
};

enum { IDL_NORM_NONE = 0, IDL_NORM_RMS = 1, IDL_NORM_LAYER = 2 };
enum { IDL_STORE = 0, IDL_ADD = 1, IDL_LOGITS = 2 };
enum { IDL_ACT_NONE = 0, IDL_SILU = 1, IDL_GELU = 2, IDL_GELU_TANH = 3, IDL_RELU = 4 };

typedef struct {
  int32_t kind, in, out;  // in, out: buffer numbers
  int32_t rows;           // 0: tokens of the step; 1: wanted rows of the step
  int32_t norm, epilogue, act;
  int32_t pair;           // LINEAR: tiles alternate between gate and up; out = act(gate) * up, n counts both
  int32_t column;         // LINEAR: first column of the output row
  int32_t wkind, n, k;    // matrix: kind, output rows (valid), inputs
  int32_t layer, heads, kv_heads, dim, rotary, causal, window, first;
  float eps, scale, offset;
  const void* w;          // matrix tiles (LINEAR, EMBED)
  const float* a;         // norm weight; positions table (EMBED); q norm (ROPE)
  const float* b;         // norm bias; extra row (EMBED); k norm (ROPE); bias (LINEAR)
  const float* c;         // cos (ROPE) [positions][rotary / 2]
  const float* d;         // sin (ROPE)
} idl_op;

typedef struct {  // what an adapter does to one LINEAR: y = out * (W (in * x) + bias + B A x)
  int32_t rank;
  const float* a;    // [rank][k]
  const float* b;    // [tiles][rank][16]
  const float* out;  // [tiles][16]; null: ones
  const float* in;   // [k]; null: ones
} idl_delta;

typedef struct {  // how a row's token is chosen; engine/sampling says what each means
  uint64_t seed;
  int64_t choice;
  uint64_t index;
  float temperature;    // 0: the most likely token
  int32_t top_k;        // 0: off
  float top_p, min_p;   // 1, 0: off
  int32_t wants;        // 0: no log-probabilities; 1 + n: the norm, and the n most likely tokens
  int32_t spare;
} idl_choice;

typedef struct {
  int32_t begin, end;      // operations to run: [begin, end)
  int32_t n, segments, wanted, table_stride;
  const int32_t* ids;      // [n]
  const int32_t* pos;      // [n]
  const int32_t* bounds;   // [segments + 1]
  const int32_t* lengths;  // [segments] context after this step
  const int32_t* tables;   // [segments][table_stride]
  const int32_t* out_rows; // [wanted]
  float* logits;           // [wanted][vocab]
  int64_t logits_stride;
  const int32_t* adapters;    // [n] adapter of each token, -1: none; null: nobody has one
  const idl_delta* deltas;    // [adapters][operations of the program]
  const float* const* soft;   // [adapters] rows of the adapter's own, for ids from `vocabulary` on
  int32_t vocabulary, ranks;  // ranks: no delta has more
  const idl_choice* choices;  // [wanted]; null: nothing is chosen
  int32_t* chosen;            // [wanted]
  float* norms;               // [wanted] log of the sum of e^logit, where a row wants it
  int32_t* top_ids;           // [wanted][top_stride] best first
  float* top_logprobs;        // [wanted][top_stride]
  int64_t top_stride;
} idl_step;

typedef struct {
  int32_t page_size, pages, layers, kv_heads, dim;
  int32_t int8;  // 0: fp16; 1: int8 with one scale for each position of a head
  void* k;       // [layers][pages][kv_heads][dim][page_size]
  void* v;       // [layers][pages][kv_heads][page_size][dim]
  float* k_scales;  // [layers][pages][kv_heads][page_size], int8 only
  float* v_scales;
} idl_cache;

int idl_abi(void);
const char* idl_isa(void);                 // the instruction set in use
int idl_use_isa(const char* name);         // 0: not on this machine
void* idl_team_new(int threads);
void idl_team_free(void* team);
// widths[i] floats per row in buffer i; max_rows rows each.
void* idl_program_new(void* team, const idl_op* ops, int n_ops, const int32_t* widths, int n_buffers, int max_rows,
                      int max_context);
void idl_program_free(void* program);
void idl_program_quiesce(void* program);  // after it no thread reads what an earlier step pointed to
float* idl_program_buffer(void* program, int buffer);
// A step in two halves: between them the other threads compute, and the caller may do something else (and must not touch
// what the step points to). `idl_program_wait` helps, and returns when all is done.
int idl_program_start(void* program, const idl_step* step, const idl_cache* cache);
void idl_program_wait(void* program);
int idl_program_run(void* program, const idl_step* step, const idl_cache* cache);
// Pack rows into tiles that the caller has zeroed. type is the GGUF tensor type number; row_map[i] is the source row of
// output row i, -1: leave it. A narrower type is held exactly; a wider one is quantised. -1: no packer for this type.
int64_t idl_packed_bytes(int kind, int rows, int k);
int idl_pack_kind(int type);  // the kind that holds a type exactly (fp16 scales and offsets), or -1
int idl_pack(int kind, int type, const void* src, int64_t row_bytes, int k, const int32_t* row_map, int rows, void* dst);
void idl_unpack(int kind, const void* tiles, int k, const int32_t* rows, int n, float* out);
// One matrix times m rows of x: for tests and measurements.
void idl_matmul(void* team, int kind, const void* w, int n, int k, const float* x, int m, float* y);
// A token of one row of logits, for tests: `top_ids` and `top_logprobs` have room for how->wants - 1.
int32_t idl_choose(const float* logits, int n, const idl_choice* how, float* norm, int32_t* top_ids, float* top_logprobs);
double idl_uniform(uint64_t seed, int64_t choice, uint64_t index);  // the random number behind a token
// A ceiling of this machine, of all threads together, measured for about `seconds`: what 0, bytes read a second from
// `memory`; 32 or 8, multiply-adds a second of floats or bytes, from registers.
double idl_measure(int what, int threads, double seconds, const float* memory, int64_t bytes);

}
