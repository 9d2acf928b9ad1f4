// Lesson 02: running an LLM.
//
// A language model answers one question: which token comes next? This program asks it once
// (before), then again and again with the answer so far (after), which makes it write. Nothing is
// remembered from one token to the next: each asks about the whole text anew. That is the point
// that the later lessons improve.
#include <chrono>
#include <cmath>

#include "common/base/cli.h"
#include "common/base/error.h"
#include "common/base/memory.h"
#include "common/engine/lesson.h"
#include "common/model/reference.h"
#include "common/sample/sampler.h"

namespace {

using namespace aios;

constexpr const char* kAbout =
    "Lesson 02, running an LLM: loads a model, asks it for one token, then for a whole answer.\n"
    "It computes on the CPU, in f32, the plainest way there is: common/model/reference.cc.";

double Seconds(const std::function<void()>& work) {
  const auto start = std::chrono::steady_clock::now();
  work();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

// One forward pass: the tokens that the model thinks likeliest to come next.
Output PredictOneToken(Lesson& lesson, const ReferenceModel& model, const Prompt& prompt) {
  GenerationRequest request = lesson.request();
  request.prompt_ids = prompt.ids;
  request.max_new_tokens = 1;
  request.stop_strings.clear();
  std::vector<float> logits;
  const NextLogits next_logits = [&](std::span<const TokenId> tokens) {
    return logits = model.Forward(tokens);
  };
  Generation generation = Generate(next_logits, request, lesson.tokenizer(), [](auto) {});

  std::vector<std::string> next;
  for (const auto& [token, logit] : TopLogits(logits, 5)) {
    next.push_back(
        fmt::format("{} {:.1f}%", lesson.NameOf(token), 100 * std::exp(logit - LogSumExp(logits))));
  }
  lesson.Print("next     {}\n", fmt::join(next, ", "));
  return {.prompt_ids = prompt.ids, .generation = std::move(generation)};
}

// Shows an answer's tokens all at once to the model that wrote them one by one. What a token sees
// is only what comes before it, so each must be chosen again: an answer costs one pass, once it is
// known.
Check ChooseAgain(const ReferenceModel& model, const Run& run, const SamplingParams& sampling,
                  double* seconds) {
  size_t n_tokens = 0;
  size_t n_same = 0;
  for (const auto& [prompt_ids, generation] : run.outputs) {
    const std::vector<TokenId>& answer = generation.tokens;
    std::vector<TokenId> sequence = prompt_ids;
    sequence.insert(sequence.end(), answer.begin(), answer.end() - 1);
    std::vector<float> logits;  // [answer.size(), vocab_size]
    *seconds +=
        Seconds([&] { logits = model.Forward(sequence, static_cast<int64_t>(answer.size())); });

    const size_t vocab_size = logits.size() / answer.size();
    for (size_t i = 0; i < answer.size(); ++i) {
      n_same += Sample({&logits[i * vocab_size], vocab_size}, sampling, i) == answer[i] ? 1 : 0;
    }
    n_tokens += answer.size();
  }
  return {.name = "one pass over prompt and answer chooses the same tokens",
          .ok = n_same == n_tokens,
          .detail = fmt::format("{} of {}", n_same, n_tokens)};
}

int RunLesson(int argc, char** argv) {
  // Flags.
  const LessonFlags flags = ParseLessonFlags(argc, argv, kAbout);
  if (flags.backend == "cuda")
    throw UnsupportedError("--backend cuda: this lesson runs on the CPU; lesson 03 brings CUDA");
  if (flags.dtype == "bf16")
    throw UnsupportedError("--dtype bf16: the reference model computes in f32");

  // Boot: open the model, then turn its weights into f32.
  Lesson lesson("02_running_an_llm", flags, argv[0], sizeof(float));
  std::optional<ReferenceModel> model;
  const double load_seconds = Seconds([&] {
    model.emplace(lesson.model().config(), lesson.model().weights(), lesson.n_threads());
  });
  lesson.Print("memory   {:.1f} MB of weights in f32, ready in {:.2f} s\n",
               static_cast<double>(model->weight_bytes()) * 1e-6, load_seconds);

  // Before: one forward pass, one token.
  const auto new_run = [&](const char* name) {
    return Run{.name = name,
               .backend = "reference",
               .dtype = "f32",
               .bytes_per_token = model->weight_bytes()};
  };
  Run before = new_run("before");
  for (const Prompt& prompt : lesson.prompts()) {
    before.outputs.push_back(PredictOneToken(lesson, *model, prompt));
  }
  before.peak_bytes = PeakMemory();
  lesson.report().runs.push_back(std::move(before));

  // After: the loop.
  const Run after = lesson.Generate(new_run("after"), [&](std::span<const TokenId> sequence) {
    return model->Forward(sequence);
  });

  // Check and report.
  double one_pass_seconds = 0;
  lesson.AddCheck(ChooseAgain(*model, after, lesson.request().sampling, &one_pass_seconds));
  double loop_seconds = 0;
  double n_tokens = 0;
  for (const Output& output : after.outputs) {
    loop_seconds += output.generation.first_token_seconds + output.generation.decode_seconds;
    n_tokens += static_cast<double>(output.generation.tokens.size());
  }
  lesson.Print(
      "price    the loop took {:.2f} s, that one pass {:.2f} s: {:.0f}x, for computing the past "
      "again for each token\n",
      loop_seconds, one_pass_seconds, loop_seconds / one_pass_seconds);
  lesson.report().moved = {
      .metric = "tokens from one prompt", .before = 1, .after = n_tokens / after.outputs.size()};
  return lesson.Finish();
}

}  // namespace

int main(int argc, char** argv) {
  return aios::RunMain([&] { return RunLesson(argc, argv); });
}
