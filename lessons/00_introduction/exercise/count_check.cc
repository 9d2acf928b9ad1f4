// Grades the counts: by hand for a tiny model, by what its makers publish for two real ones.
#include <algorithm>
#include <cmath>

#include "count.h"
#include "tools/exercises/grader.h"

namespace aios::exercise {
namespace {

using Mistakes = std::vector<std::pair<int64_t, std::string_view>>;

struct Model {
  std::string name;
  Config config;
  int64_t n_parameters;  // published, or counted by hand
};

void Check(const Model& model) {
  BeginCase(model.name);
  const Config& c = model.config;
  const int64_t table = c.vocab_size * c.d_model;
  const int64_t n = model.n_parameters;
  const int64_t norms = (2 * c.n_layers + 1) * c.d_model;
  const int64_t ungrouped = c.n_layers * 2 * c.d_model * c.head_dim * (c.n_heads - c.n_kv_heads);
  // wq and wo as if n_heads * head_dim were d_model.
  const int64_t square = c.n_layers * 2 * c.d_model * (c.d_model - c.n_heads * c.head_dim);

  const int64_t yours = CountParameters(c);
  Expect(yours != 0 || n == 0, "parameters: yours is 0",
         "nothing is counted: is this still the stub?");
  ExpectEqual("parameters", n, yours,
              {{static_cast<int32_t>(n), "the count does not fit an int: use int64_t all the way"},
               {n + ungrouped, "wk and wv have n_kv_heads heads, not n_heads"},
               {c.tied_embeddings ? n + table : n - table,
                "is there an output matrix of its own? That is what tied_embeddings says"},
               {n - norms, "the norms have weights too: two in each layer and one at the end"},
               {n - c.d_model, "is the norm at the end counted?"},
               {n + square, "wq and wo have n_heads * head_dim, which need not be d_model"},
               {n - c.n_layers * c.d_model * c.d_ff,
                "the feed-forward layer has three matrices: gate, up, down"}},
              "count a layer of the header's example, weight by weight");

  const int64_t read = c.tied_embeddings ? n : n - table;
  for (const int64_t bytes : {2, 4}) {
    ExpectEqual(Format("bytes read for a token, %d bytes a weight,", static_cast<int>(bytes)),
                read * bytes, WeightBytesPerToken(c, bytes),
                {{n * bytes,
                  "of an embedding that is not the output matrix only a row is read: leave it out"},
                 {(read - table) * bytes, "the output matrix is read, tied or not"},
                 {static_cast<int32_t>(read * bytes),
                  "the count does not fit an int: use int64_t all the way"},
                 {read, "weights are not bytes: bytes_per_weight says how many each takes"}},
                "all weights that take part, times bytes_per_weight");
  }

  const int64_t kv = 2 * c.n_layers * c.n_kv_heads * c.head_dim;
  ExpectEqual("KV cache bytes a token, 2 bytes a number,", 2 * kv, KvBytesPerToken(c, 2),
              {{2 * kv / c.n_kv_heads * c.n_heads, "the cache keeps n_kv_heads heads, not n_heads"},
               {kv, "both keys and values are kept, and each number takes bytes_per_number"},
               {2 * kv / c.n_layers, "every layer keeps keys and values of its own"}},
              "keys and values, in each layer, of each key-value head, head_dim numbers");

  for (const int64_t n_context : {1, 1000}) {
    const int64_t matrices = 2 * (read - norms);
    const int64_t attention = 4 * c.n_layers * c.n_heads * c.head_dim * n_context;
    ExpectEqual(
        Format("FLOPs of a token that sees %d,", static_cast<int>(n_context)), matrices + attention,
        DecodeFlops(c, n_context),
        {{matrices + attention / c.n_heads * c.n_kv_heads,
          "every query head attends: grouped heads save bytes, not FLOPs"},
         {matrices + attention + 2 * table,
          "the embedding is looked up, not multiplied with: leave it out"},
         {2 * read + attention, "the norms are no matrices: leave them out"},
         {matrices + attention - 2 * table, "the output matrix counts, tied or not"},
         {matrices, "is attention counted? It grows with n_context"},
         {matrices + attention / 2,
          "attention does two products: query with key, and probabilities with values"},
         {matrices / 2 + attention, "a weight costs a multiplication and an addition"}},
        "2 for each weight of a matrix, and 4 * head_dim for each query head and token seen");
  }
}

void CheckTime(int64_t bytes, int64_t flops, const Machine& machine) {
  BeginCase(Format("%lld bytes and %lld FLOPs, at %g bytes and %g FLOPs a second",
                   static_cast<long long>(bytes), static_cast<long long>(flops),
                   machine.bytes_per_second, machine.flops_per_second));
  const double reading = static_cast<double>(bytes) / machine.bytes_per_second;
  const double computing = static_cast<double>(flops) / machine.flops_per_second;
  const double right = std::max(reading, computing);
  const double yours = LeastSeconds(bytes, flops, machine);
  const auto is = [&](double seconds) { return std::abs(yours - seconds) <= 1e-6 * seconds; };
  if (is(right)) return;
  Fail(Format("should be %g s, yours is %g s", right, yours),
       is(reading + computing) ? "it reads and computes at the same time: do not add the two"
       : is(std::min(reading, computing))
           ? "the slower of the two decides: it is the longer time, not the shorter"
       : is(static_cast<double>(bytes / static_cast<int64_t>(machine.bytes_per_second)))
           ? "is a fraction cut off? Divide as double"
           : "bytes take bytes / bytes_per_second, FLOPs likewise; which of the two decides?");
}

}  // namespace
}  // namespace aios::exercise

int main() {
  using namespace aios::exercise;
  Check({"the header's example", {10, 4, 1, 2, 1, 3, 5, true}, 184});
  Check({"the header's example, not tied", {10, 4, 1, 2, 1, 3, 5, false}, 224});
  Check({"SmolLM2 135M", {49152, 576, 30, 9, 3, 64, 1536, true}, 134'515'008});
  Check({"Llama 3 8B", {128256, 4096, 32, 32, 8, 128, 14336, false}, 8'030'261'248});
  CheckTime(368, 512, {92, 256});
  CheckTime(368, 2048, {92, 256});
  CheckTime(100, 100, {64, 1000});
  CheckTime(16'060'522'496, 15'000'000'000, {4.8e12, 827e12});
  CheckTime(16'060'522'496, 15'000'000'000'000, {4.8e12, 827e12});
  return Passed();
}
