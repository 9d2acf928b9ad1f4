// Lesson 04: the KV cache.
//
// The same answer as lesson 03, once more. Before: its engine, which computes the whole text again
// for each token. After: the same engine with a memory: keys and values of what was computed stay,
// in pages that a table finds, as an operating system keeps a process's memory. Then what pages
// save: contiguous against paged, and a beginning that several prompts share.
#include <algorithm>
#include <iterator>
#include <vector>

#include "common/backend/backend.h"
#include "common/base/cli.h"
#include "common/base/write_file.h"
#include "common/engine/engine.h"
#include "common/engine/lesson.h"
#include "common/engine/recompute.h"
#include "common/mm/page_maps.h"
#include "common/profile/gpu_probe.h"
#include "lessons/04_kv_cache/flags.h"
#include "lessons/04_kv_cache/judge.h"
#include "lessons/04_kv_cache/layouts.h"
#include "lessons/04_kv_cache/prefix.h"
#include "lessons/04_kv_cache/time_plot.h"

namespace {

using namespace aios;
using namespace aios::lessons;

// What a decode step reads: all weights, and the keys and values of what came before it.
int64_t BytesPerToken(const Engine& engine, const Run& run) {
  int64_t n_keys = 0;
  int64_t n_steps = 0;
  for (const auto& [prompt_ids, generation] : run.outputs) {
    for (size_t i = 1; i < generation.tokens.size(); ++i, ++n_steps) {
      n_keys += static_cast<int64_t>(prompt_ids.size() + i);
    }
  }
  return engine.bytes_per_token() +
         n_keys * engine.cache().bytes_per_token() / std::max<int64_t>(n_steps, 1);
}

// A GPU loads a kernel when it is first used. The prompt backwards: of itself nothing must be
// known.
void WarmUp(Engine& engine, const Lesson& lesson) {
  GenerationRequest request = lesson.request();
  const std::vector<TokenId>& ids = lesson.prompts().front().ids;
  request.prompt_ids.assign(ids.rbegin(), ids.rend());
  request.stop_strings.clear();
  request.max_new_tokens = 2;
  engine.Generate(request, nullptr, [](std::string_view) {});
}

int RunLesson(int argc, char** argv) {
  // Flags.
  const Flags flags = ParseFlags(argc, argv);
  const std::unique_ptr<Backend> backend = NewBackend(flags);
  const bool on_gpu = backend->device() == Device::kCuda;
  const bool exact = backend->activation_dtype() == DType::kF32;

  // Boot: the model, and memory for keys and values. What does not fit is found here.
  Lesson lesson("04_kv_cache", flags.lesson, argv[0]);
  const double bandwidth = on_gpu ? MeasureGpuReadBandwidth(flags.lesson.device) : 0;
  Engine engine(*backend, lesson.model(), {.kv = flags.kv});
  const KvCache& cache = engine.cache();
  lesson.LimitContext(engine.context());
  lesson.Print("engine   {}, in {}\n", backend->description(), exact ? "f32" : "bf16");
  if (!on_gpu && flags.lesson.backend != "cpu") {
    lesson.Print("gpu      none: {}\n", WhyNoCuda(flags.lesson.device));
  }
  lesson.Print("cache    {} bytes a token; {} pages of {}, {:.1f} MB; a context of {} at most\n",
               cache.bytes_per_token(), cache.n_pages(), cache.page_size(),
               static_cast<double>(cache.n_pages() * cache.bytes_per_page()) * 1e-6,
               engine.context());
  const auto new_run = [&](const char* name) {
    return Run{.name = name,
               .backend = std::string(backend->name()),
               .dtype = exact ? "f32" : "bf16",
               .bytes_per_token = engine.bytes_per_token(),
               .gpu_read_bandwidth = bandwidth};
  };

  // Before: lesson 03's engine, which keeps nothing.
  {
    const std::unique_ptr<Backend> other = NewBackend(flags);
    Recompute recompute(*other, lesson.model(), lesson.longest_sequence());
    recompute(lesson.prompts().front().ids);  // a GPU loads a kernel when it is first used
    lesson.Generate(new_run("before"), std::ref(recompute));
  }

  // After: keys and values stay.
  WarmUp(engine, lesson);
  std::vector<SequenceSize> sequences;
  std::string maps;  // of the sequence at hand
  engine.Watch([&](const PageTable& table) {
    sequences.back() = {table.n_tokens(), static_cast<int64_t>(table.pages().size())};
    if (flags.show_pages) maps = PageMaps(cache, table);
  });
  lesson.Generate(new_run("after"),
                  [&](const auto& request, const auto* tokenizer, const auto& on_text) {
                    sequences.emplace_back();
                    Generation generation = engine.Generate(request, tokenizer, on_text);
                    lesson.Print("{}{}", maps.empty() ? "" : "\n", maps);
                    return generation;
                  });
  const Run& before = lesson.report().runs[0];
  Run& after = lesson.report().runs[1];
  after.bytes_per_token = BytesPerToken(engine, after);

  lesson.Print("{}", TimePlotText(before, after));
  if (!flags.svg.empty()) WriteFile("--svg", flags.svg, TimePlotSvg(before, after));
  std::vector<Output> answers = after.outputs;
  if (!InterruptFlag()) {
    // What pages save: contiguous against paged, and a beginning that several prompts share.
    std::ranges::move(CompareLayouts(lesson, flags, engine, std::vector(sequences)),
                      std::back_inserter(answers));
    std::ranges::move(ShareAPrefix(lesson, engine, [&] { lesson.Print("{}", maps); }),
                      std::back_inserter(answers));
  }

  // Check and report.
  if (exact) lesson.AddCheck(SameTokens(before.outputs, after.outputs));
  if (lesson.request().sampling.temperature == 0) {
    lesson.AddCheck(WouldChoose(flags, lesson.model(), answers, exact));
  }
  lesson.report().moved = {.metric = "tokens a second after the first",
                           .before = before.decode_tok_s(),
                           .after = after.decode_tok_s()};
  return lesson.Finish();
}

}  // namespace

int main(int argc, char** argv) {
  return aios::RunMain([&] { return RunLesson(argc, argv); });
}
