// Lesson 03: CUDA kernels.
//
// The same loop as lesson 02, the same answer; what computes it is another. Before: the reference
// model, plain matrix algebra on the CPU. After: the engine's forward pass, on a GPU where there is
// one, on vectorized CPU kernels where there is none. Then a ladder: one operation, the matrix
// product, from naive to near the limit of the machine.
#include <algorithm>

#include "common/backend/backend.h"
#include "common/base/cli.h"
#include "common/base/error.h"
#include "common/engine/lesson.h"
#include "common/engine/recompute.h"
#include "common/model/reference.h"
#include "lessons/03_cuda_kernels/ladder.h"

namespace {

using namespace aios;

constexpr const char* kAbout =
    "Lesson 03, CUDA kernels: the same answer as lesson 02, computed by the engine's own kernels, "
    "on "
    "a GPU if there is one; then what each step from a naive kernel to a fast one brings.";

// By how much another token's logit may lead the one that bf16 chose, for bf16 to have chosen as
// well as f32 would: bf16 keeps 8 bits of each number, and logits are some 10 to 20.
constexpr float kBf16Lead = 0.5F;

// The engine, with the reference model as judge: shown an answer's tokens all at once, would it
// have chosen each of them?
Check JudgedByReference(const ReferenceModel& reference, const Run& run, bool exact) {
  size_t n_tokens = 0;
  size_t n_same = 0;
  float worst = 0;  // by how much the reference model liked another token better
  for (const auto& [prompt_ids, generation] : run.outputs) {
    const std::vector<TokenId>& answer = generation.tokens;
    std::vector<TokenId> sequence = prompt_ids;
    sequence.insert(sequence.end(), answer.begin(), answer.end() - 1);
    const std::vector<float> logits =
        reference.Forward(sequence, static_cast<int64_t>(answer.size()));
    const size_t vocab_size = logits.size() / answer.size();
    for (size_t i = 0; i < answer.size(); ++i) {
      const std::span row(&logits[i * vocab_size], vocab_size);
      const float lead = *std::max_element(row.begin(), row.end()) - row[answer[i]];
      worst = std::max(worst, lead);
      n_same += lead == 0 ? 1 : 0;
    }
    n_tokens += answer.size();
  }
  return {.name = exact ? "the reference model chooses the same tokens"
                        : "the reference model chooses the same tokens, but for near ties",
          .ok = exact ? n_same == n_tokens : worst <= kBf16Lead,
          .detail = fmt::format("{} of {}; worst lead of another {:.3f}", n_same, n_tokens, worst)};
}

int RunLesson(int argc, char** argv) {
  // Flags.
  const LessonFlags flags = ParseLessonFlags(argc, argv, kAbout);
  const std::unique_ptr<Backend> backend = MakeBackend({.backend = flags.backend,
                                                        .dtype = flags.dtype,
                                                        .n_threads = flags.threads,
                                                        .device = flags.device,
                                                        .deterministic = flags.deterministic});

  // Boot: the model, for the reference in f32, for the engine as its backend wants it.
  Lesson lesson("03_cuda_kernels", flags, argv[0], sizeof(float));
  const ReferenceModel reference(lesson.model().config(), lesson.model().weights(),
                                 lesson.n_threads());
  Recompute engine(*backend, lesson.model(), lesson.longest_sequence());
  const bool on_gpu = backend->device() == Device::kCuda;
  const bool exact = backend->activation_dtype() == DType::kF32;
  lesson.Print("engine   {}, in {}\n", backend->description(), exact ? "f32" : "bf16");
  if (!on_gpu && flags.backend != "cpu") {
    lesson.Print("gpu      none: {}\n", WhyNoCuda(flags.device));
  }
  engine(lesson.prompts().front().ids);  // a GPU loads a kernel when it is first used

  // Before: the reference model.
  const Run before = lesson.Generate(
      {.name = "before",
       .backend = "reference",
       .dtype = "f32",
       .bytes_per_token = reference.weight_bytes()},
      [&](std::span<const TokenId> sequence) { return reference.Forward(sequence); });

  // After: the engine. It still computes every token's past anew; so does the reference.
  const Run after =
      lesson.Generate({.name = "after",
                       .backend = std::string(backend->name()),
                       .dtype = exact ? "f32" : "bf16",
                       .bytes_per_token = engine.bytes_per_token(),
                       .gpu_read_bandwidth = on_gpu ? lessons::GpuReadBandwidth() : 0},
                      std::ref(engine));

  // Check and report.
  if (lesson.request().sampling.temperature == 0) {
    lesson.AddCheck(JudgedByReference(reference, after, exact));
  }
  lesson.report().moved = {.metric = "prompt tokens computed a second",
                           .before = before.prefill_tok_s(),
                           .after = after.prefill_tok_s()};
  const int exit_code = lesson.Finish();

  // The ladder: how a kernel gets there.
  if (flags.json != "-") lessons::PrintLadder(on_gpu, lesson.n_threads());
  return exit_code;
}

}  // namespace

int main(int argc, char** argv) {
  return aios::RunMain([&] { return RunLesson(argc, argv); });
}
