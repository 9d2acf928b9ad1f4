#include <fmt/format.h>

#include "common/base/error.h"
#include "lessons/00_introduction/print.h"
#include "lessons/00_introduction/units.h"

namespace aios::lessons {

void PrintModel(std::FILE* out, const Subject& subject) {
  const ModelConfig& c = subject.config;
  const ModelSize& size = subject.size;
  const ModelSize f32 = SizeOf(c, DType::kF32);
  const auto n_params = static_cast<double>(size.n_params());
  fmt::print(
      out,
      "model    {}: {} layers, d_model {}, {} heads of {} ({} key-value), d_ff {}, vocabulary "
      "{}\n\n",
      Escaped(c.name), c.n_layers, c.d_model, c.n_heads, c.head_dim, c.n_kv_heads, c.d_ff,
      c.vocab_size);

  fmt::print(out, "Parameters\n  {:<14}{:<46}{:>15}{:>8}{:>12}{:>12}\n", "", "", "", "",
             subject.format, "in F32");
  for (int i = 0; i < kNumComponents; ++i) {
    const auto component = static_cast<Component>(i);
    const ModelSize::Part& part = size[component];
    fmt::print(out, "  {:<14}{:<46}{:>15}{:>7.1f}%{:>12}{:>12}\n", Name(component),
               Arithmetic(component, c), Grouped(part.n_params),
               100 * static_cast<double>(part.n_params) / n_params,
               Bytes(static_cast<double>(part.n_bytes)),
               Bytes(static_cast<double>(f32[component].n_bytes)));
  }
  fmt::print(out, "  {:<14}{:<46}{:>15}{:>8}{:>12}{:>12}\n", "all",
             fmt::format("{:.2f} bits each, {}", size.bits_per_param(), subject.format),
             Grouped(size.n_params()), "", Bytes(static_cast<double>(size.n_bytes())),
             Bytes(static_cast<double>(f32.n_bytes())));

  const ModelSize::Part& attention = f32[Component::kAttention];
  const ModelSize::Part& feed_forward = f32[Component::kFeedForward];
  const int64_t layers = attention.n_params + feed_forward.n_params;
  const int64_t output = c.vocab_size * c.d_model;
  fmt::print(out, "\nA token of the answer\n");
  fmt::print(out, "  products     2 FLOPs x ({} weights of layers + {} of the output) = {}\n",
             Grouped(layers), Grouped(output), Flops(2.0 * static_cast<double>(layers + output)));
  fmt::print(out, "  attention    4 FLOPs x {} layers x {} x {} tokens of context = {}\n",
             c.n_layers, c.q_dim(), Grouped(subject.context),
             Flops(4.0 * static_cast<double>(c.n_layers * c.q_dim()) *
                   static_cast<double>(subject.context)));
  for (const DType kv : {DType::kF32, DType::kBF16}) {
    fmt::print(out, "  KV cache     {} layers x 2 x {} heads x {} x {} bytes = {} bytes ({})\n",
               c.n_layers, c.n_kv_heads, c.head_dim, BytesOf(kv, 1),
               Grouped(KvBytesPerToken(c, kv)), Name(kv));
  }
  fmt::print(
      out,
      "  activations  4 bytes x (3 x {} + 3 x {} + 2 x {} + 3 x {}) = {} of scratch in F32, which "
      "every layer uses again\n",
      c.d_model, c.q_dim(), c.kv_dim(), c.d_ff, Bytes(ActivationBytes(c, DType::kF32, 1, 0)));
  fmt::print(out, "  logits       4 bytes x {} = {}\n", Grouped(c.vocab_size),
             Bytes(4.0 * static_cast<double>(c.vocab_size)));
}

}  // namespace aios::lessons
