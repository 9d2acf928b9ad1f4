// Roofline: the bytes and the FLOPs of a step, counted from a model's config, and the time that a
// device needs for them at least.
//
// A step reads bytes and does arithmetic, and a good program does both at once; so it takes as long
// as the slower of the two (Williams, Waterman, Patterson 2009, "Roofline"). What is counted here
// is what no program can avoid: each weight is read once a step, each key and value of the past
// once for each sequence; a weight of a matrix costs a multiplication and an addition for each
// token. Activations stay in caches and are not counted. So the times are floors and the speeds
// ceilings.
//
// All functions are pure. "Absurd" sizes: counts are doubles, so that nothing overflows.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>

#include "common/model/config.h"
#include "common/model/weights.h"
#include "common/tensor/dtype.h"

namespace aios {

// ---- What a model is ----------------------------------------------------------------------------

enum class Component : uint8_t { kEmbedding, kAttention, kFeedForward, kNorms, kOutput };
inline constexpr int kNumComponents = 5;
std::string_view Name(Component component);
// "30 x (2 x 576 x 576 + 2 x 192 x 576)"; what multiplies out to the component's parameters.
std::string Arithmetic(Component component, const ModelConfig& config);

// Parameters and their bytes, by component. A tied output matrix counts as embedding, once.
struct ModelSize {
  struct Part {
    int64_t n_params = 0;
    int64_t n_bytes = 0;
  };
  std::array<Part, kNumComponents> parts;  // indexed by Component

  const Part& operator[](Component component) const { return parts[static_cast<int>(component)]; }
  int64_t n_params() const;
  int64_t n_bytes() const;
  double bits_per_param() const;
};

// All matrices in `format`; vectors (norms, biases) too if it is F32, F16 or BF16, else in F32.
// Throws InputError if a row is not a whole number of the format's blocks.
ModelSize SizeOf(const ModelConfig& config, DType format);
// As the tensors are stored. REQUIRES: `weights` were bound with `config`.
ModelSize SizeOf(const ModelConfig& config, const Weights& weights);

// Keys and values of one token in all layers: n_layers * 2 * n_kv_heads * head_dim numbers.
int64_t KvBytesPerToken(const ModelConfig& config, DType kv);

// Scratch memory of a step of `n_tokens`, of which `n_logit_rows` want logits, as the engine's
// transformer takes it: what is computed in `activation`, residual stream and logits in F32.
double ActivationBytes(const ModelConfig& config, DType activation, int64_t n_tokens,
                       int64_t n_logit_rows);

// ---- What a step costs --------------------------------------------------------------------------

// One step of `n_sequences` sequences: each computes `n_new` tokens after `n_past` whose keys and
// values are in the cache, and wants the logits of its last. Prefill: n_new is the prompt, n_past
// 0. Decode: n_new is 1.
struct Step {
  int64_t n_sequences = 1;
  int64_t n_new = 1;
  int64_t n_past = 0;
};

struct Cost {
  double weight_bytes = 0;     // read
  double kv_bytes = 0;         // read, and written for the new tokens
  double matrix_flops = 0;     // of products with weights
  double attention_flops = 0;  // of queries with keys, and of probabilities with values

  double bytes() const { return weight_bytes + kv_bytes; }
  double flops() const { return matrix_flops + attention_flops; }
  double intensity() const { return flops() / bytes(); }  // FLOPs a byte
};
Cost CostOf(const ModelConfig& config, const ModelSize& size, DType kv, const Step& step);

// The average over the steps that write `n_new` tokens after a prompt without a KV cache, each of
// which computes the whole sequence again: what lessons 02 and 03 do.
Cost RecomputeCost(const ModelConfig& config, const ModelSize& size, DType kv, int64_t n_prompt,
                   int64_t n_new);
// The same with a cache, without the prefill: what lesson 04 does. For an answer of one token: that
// of the step that would come next.
Cost DecodeCost(const ModelConfig& config, const ModelSize& size, DType kv, int64_t n_prompt,
                int64_t n_new, int64_t n_sequences);

// ---- What a device makes of it ------------------------------------------------------------------

struct DeviceLimits {
  std::string name;         // "AMD EPYC, 2 threads"; "NVIDIA H200"
  bool is_gpu = false;      // computes in bf16; else in f32
  bool measured = false;    // else published, or worked out from a data sheet
  double read_bytes_s = 0;  // from memory
  double flop_s = 0;        // of matrix products
  double memory_bytes = 0;  // of it in all
  double link_bytes_s = 0;  // to each other device of its kind, one direction; 0: not known

  // FLOPs a byte from which on arithmetic decides, not memory.
  double ridge() const { return flop_s / read_bytes_s; }
};

struct Prediction {
  double memory_seconds = 0;
  double compute_seconds = 0;

  double seconds() const {
    return memory_seconds > compute_seconds ? memory_seconds : compute_seconds;
  }
  bool memory_bound() const { return memory_seconds >= compute_seconds; }
};
Prediction Predict(const Cost& cost, const DeviceLimits& limits);

// The batch from which on a decode step with `n_past` tokens a sequence is bound by arithmetic. 0:
// never, since reading a sequence's keys and values takes longer than computing its token.
double RidgeBatch(const ModelConfig& config, const ModelSize& size, DType kv, int64_t n_past,
                  const DeviceLimits& limits);

// What fits a device. The rest of its memory is the system's, or the driver's, or lost to
// fragments.
inline constexpr double kUsableMemory = 0.9;

struct Fit {
  double usable_bytes = 0;  // kUsableMemory of all
  double weight_bytes = 0;
  double prefill_bytes = 0;   // activations of a prefill
  double sequence_bytes = 0;  // of one sequence: its KV cache, and a decode row's activations
  double left_bytes = 0;      // for sequences; negative: not even the weights fit
  int64_t max_batch = 0;      // sequences of `context` tokens
  int64_t max_context = 0;    // tokens of one sequence alone, whatever the model was trained for

  bool weights_fit() const { return left_bytes >= 0; }
};
// `n_prefill`: tokens of the largest prefill step.
Fit FitOf(const ModelConfig& config, const ModelSize& size, DType kv, int64_t context,
          int64_t n_prefill, const DeviceLimits& limits);

}  // namespace aios
