// Lesson 03: CUDA kernels.
//
// The same loop as lesson 02, the same answer; what computes it is another. Before: the reference
// model, plain matrix algebra on the CPU. After: the engine's forward pass, on a GPU where there is
// one, on vectorized CPU kernels where there is none. Then a ladder: one operation, the matrix
// product, from naive to near the limit of the machine.
#include <span>

#include "common/backend/backend.h"
#include "common/backend/backend_flags.h"
#include "common/base/cli.h"
#include "common/base/error.h"
#include "common/engine/judge.h"
#include "common/engine/lesson.h"
#include "common/engine/recompute.h"
#include "common/model/reference.h"
#include "common/profile/gpu_probe.h"
#include "lessons/03_cuda_kernels/ladder.h"

namespace {

using namespace aios;

constexpr const char* kAbout =
    "Lesson 03, CUDA kernels: the same answer as lesson 02, computed by the engine's own kernels, "
    "on "
    "a GPU if there is one; then what each step from a naive kernel to a fast one brings.";

int RunLesson(int argc, char** argv) {
  // Flags.
  const LessonFlags flags = ParseLessonFlags(argc, argv, kAbout);
  const std::unique_ptr<Backend> backend = MakeBackend(BackendOptionsOf(flags));

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
                       .gpu_read_bandwidth = on_gpu ? MeasureGpuReadBandwidth(flags.device) : 0},
                      std::ref(engine));

  // Check and report.
  if (lesson.request().sampling.temperature == 0) {
    const char* name = exact ? "the reference model chooses the same tokens"
                             : "the reference model chooses the same tokens, but for near ties";
    lesson.AddCheck(JudgeByForcing(
        name,
        [&](std::span<const TokenId> sequence, int64_t n_last) {
          return reference.Forward(sequence, n_last);
        },
        after.outputs, exact));
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
