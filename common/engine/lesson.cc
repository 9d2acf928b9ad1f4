#include "common/engine/lesson.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <utility>

#include "common/base/error.h"
#include "common/base/json.h"
#include "common/base/mapped_file.h"
#include "common/base/memory.h"
#include "common/base/utf8.h"
#include "common/base/write_file.h"
#include "common/text/chat_template.h"

namespace aios {
namespace {

constexpr const char* kDefaultPrompt = "Why is the sky blue?";

// What the flags say of how to answer, checked.
GenerationRequest RequestOf(const LessonFlags& flags) {
  GenerationRequest request = {.sampling = {.temperature = flags.temperature,
                                            .top_k = flags.top_k,
                                            .top_p = flags.top_p,
                                            .min_p = flags.min_p,
                                            .seed = flags.seed},
                               .max_new_tokens = flags.max_new_tokens,
                               .stop_strings = flags.stop,
                               .top_logits = flags.top_logits};
  CheckRequest(request);
  return request;
}

Model OpenModel(const LessonFlags& flags, const std::string& argv0, int64_t bytes_per_param,
                bool needs_prompt) {
  CheckWritable("--json", flags.json);
  if (!flags.random_weights.empty()) {
    const bool has_ids = !flags.prompts_file.empty() || !flags.prompt_ids.empty();
    if (!flags.prompts.empty() || (needs_prompt && !has_ids))
      throw InputError("--random-weights has no tokenizer: give token ids with --prompt-ids 1,2,3");
    return Model::Random(flags.random_weights, bytes_per_param);
  }
  return Model::Load(flags.model.empty() ? DefaultModel(argv0)
                                         : std::filesystem::path(flags.model));
}

std::unique_ptr<Tokenizer> OpenTokenizer(const Model& model) {
  if (model.checkpoint() == nullptr) return nullptr;
  std::unique_ptr<Tokenizer> tokenizer = LoadTokenizer(*model.checkpoint());
  if (tokenizer != nullptr && tokenizer->vocab_size() > model.config().vocab_size) {
    throw InputError("{}: the tokenizer has {} tokens, but the model's vocabulary only {}",
                     model.checkpoint()->path().string(), tokenizer->vocab_size(),
                     model.config().vocab_size);
  }
  return tokenizer;
}

// Turns what the flags and files say into prompts.
class PromptReader {
 public:
  PromptReader(const LessonFlags& flags, const Model& model, const Tokenizer* tokenizer)
      : flags_(flags), model_(model), tokenizer_(tokenizer) {
    if (tokenizer == nullptr || flags.raw || tokenizer->chat_template.empty()) return;
    chat_ = ChatTemplate::Detect(tokenizer->chat_template);
  }

  const std::optional<ChatTemplate>& chat() const { return chat_; }

  std::vector<Prompt> Read(bool needs_prompt) {
    for (const std::string& text : flags_.prompts) AddText(text, "--prompt");
    if (!flags_.prompts_file.empty()) AddFile(flags_.prompts_file);
    if (!flags_.prompt_ids.empty()) AddIds(flags_.prompt_ids, "--prompt-ids");
    if (prompts_.empty() && needs_prompt) AddText(kDefaultPrompt, "the default prompt");
    return std::move(prompts_);
  }

 private:
  void AddFile(const std::string& path) {
    const Json json = ParseJson(ReadTextFile(path), path);
    const auto fail = [&] {
      throw InputError("{}: must be a list of prompts, each a text or a list of token ids", path);
    };
    if (!json.is_array() || json.empty()) fail();
    for (size_t i = 0; i < json.size(); ++i) {
      const std::string source = fmt::format("{}: prompt {}", path, i);
      if (json[i].is_string()) {
        AddText(json[i].get<std::string>(), source);
      } else if (json[i].is_array() && std::ranges::all_of(json[i], [](const Json& id) {
                   return id.is_number_integer();
                 })) {
        std::vector<TokenId> ids;
        for (const Json& id : json[i]) ids.push_back(CheckedId(id.get<int64_t>(), source));
        AddIds(std::move(ids), source);
      } else {
        fail();
      }
    }
  }

  void AddText(const std::string& text, const std::string& source) {
    if (tokenizer_ == nullptr) {
      throw InputError("{}: this model has no tokenizer: give token ids with --prompt-ids 1,2,3",
                       source);
    }
    if (text.empty()) throw InputError("{} is empty: there is nothing to continue", source);
    CheckUtf8(text, source);
    if (chat_.has_value()) {
      const std::array<ChatMessage, 1> messages = {{{.role = "user", .content = text}}};
      AddIds(chat_->Encode(*tokenizer_, messages), source, text);
      return;
    }
    if (!flags_.raw && !tokenizer_->chat_template.empty()) {
      throw UnsupportedError(
          "this model's chat template is none of those that are supported (ChatML, Llama 3, Qwen): "
          "use --raw");
    }
    std::vector<TokenId> ids = tokenizer_->Encode(text, SpecialTokens::kAsText);
    if (tokenizer_->bos.has_value()) ids.insert(ids.begin(), *tokenizer_->bos);
    AddIds(std::move(ids), source, text);
  }

  void AddIds(std::vector<TokenId> ids, const std::string& source, const std::string& text = "") {
    if (ids.empty()) throw InputError("{} is empty: there is nothing to continue", source);
    for (const TokenId id : ids) CheckedId(id, source);
    if (static_cast<int64_t>(ids.size()) >= model_.config().max_context) {
      throw InputError("{} has {} tokens, but the model's context of {} must hold it and an answer",
                       source, ids.size(), model_.config().max_context);
    }
    prompts_.push_back({.text = text, .ids = std::move(ids)});
  }

  TokenId CheckedId(int64_t id, const std::string& source) const {
    if (id < 0 || id >= model_.config().vocab_size) {
      throw InputError("{}: token {} is not in the vocabulary of {}", source, id,
                       model_.config().vocab_size);
    }
    return static_cast<TokenId>(id);
  }

  const LessonFlags& flags_;
  const Model& model_;
  const Tokenizer* tokenizer_;
  std::optional<ChatTemplate> chat_;
  std::vector<Prompt> prompts_;
};

}  // namespace

Lesson::Lesson(std::string name, const LessonFlags& flags, const std::string& argv0,
               int64_t bytes_per_param, bool needs_prompt)
    : flags_(flags),
      out_(flags.json == "-" ? stderr : stdout),
      request_(RequestOf(flags)),
      model_(OpenModel(flags, argv0, bytes_per_param, needs_prompt)) {
  const ModelConfig& config = model_.config();
  tokenizer_ = OpenTokenizer(model_);
  if (tokenizer_ == nullptr && !flags.stop.empty())
    throw InputError("--stop needs a tokenizer, and this model has none");
  PromptReader reader(flags, model_, tokenizer_.get());
  prompts_ = reader.Read(needs_prompt);

  request_.max_context = config.max_context;
  if (!flags.ignore_eos) {
    request_.stop_ids = config.eos_ids;
    if (reader.chat().has_value()) {
      if (const auto id = tokenizer_->FindSpecial(reader.chat()->end_of_turn()))
        request_.stop_ids.push_back(*id);
    }
  }

  report_.lesson = std::move(name);
  report_.machine = ProbeMachine();
  report_.n_threads = flags.threads > 0 ? flags.threads : report_.machine.n_cores;
  Print("machine  {}, {} cores ({}), {:.0f} GB of memory\n", report_.machine.cpu,
        report_.machine.n_cores, report_.machine.simd,
        static_cast<double>(report_.machine.memory_bytes) * 1e-9);
  Print(
      "model    {}: {:.1f}M parameters in {:.1f} MB; {} layers, d_model {}, {} heads ({} "
      "key-value), vocabulary {}\n",
      Escaped(config.name), static_cast<double>(model_.n_params()) * 1e-6,
      static_cast<double>(model_.n_bytes()) * 1e-6, config.n_layers, config.d_model, config.n_heads,
      config.n_kv_heads, config.vocab_size);
}

std::string Lesson::NameOf(TokenId token) const {
  if (tokenizer_ == nullptr || token >= tokenizer_->vocab_size()) return std::to_string(token);
  return Quoted(tokenizer_->TokenBytes(token));
}

int64_t Lesson::longest_sequence() const {
  size_t longest = 0;
  for (const Prompt& prompt : prompts_) longest = std::max(longest, prompt.ids.size());
  return std::min(static_cast<int64_t>(longest) + request_.max_new_tokens, request_.max_context);
}

void Lesson::LimitContext(int64_t context) {
  for (const Prompt& prompt : prompts_) {
    if (static_cast<int64_t>(prompt.ids.size()) >= context) {
      throw InputError(
          "a prompt has {} tokens, but the keys and values of {} must hold it and an answer",
          prompt.ids.size(), context);
    }
  }
  request_.max_context = std::min(request_.max_context, context);
}

const Run& Lesson::Generate(Run run, const NextLogits& next_logits) {
  return Generate(std::move(run), [&](const GenerationRequest& request, const Tokenizer* tokenizer,
                                      const std::function<void(std::string_view)>& on_text) {
    return aios::Generate(next_logits, request, tokenizer, on_text);
  });
}

const Run& Lesson::Generate(Run run, const AnswerRequest& answer) {
  request_.interrupt = &InterruptFlag();
  const auto start = std::chrono::steady_clock::now();
  for (const Prompt& prompt : prompts_) {
    if (!prompt.text.empty()) Print("\n> {}\n", prompt.text);
    request_.prompt_ids = prompt.ids;
    Generation generation =
        answer(request_, tokenizer_.get(), [&](std::string_view piece) { Print("{}", piece); });
    if (tokenizer_ == nullptr) Print("tokens: {}", fmt::join(generation.tokens, ","));
    Print("\n");
    run.outputs.push_back({.prompt_ids = prompt.ids, .generation = std::move(generation)});
    if (*request_.interrupt) break;
  }
  Print("\n");
  run.wall_seconds =
      std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  run.peak_bytes = PeakMemory();
  return report_.runs.emplace_back(std::move(run));
}

void Lesson::AddCheck(Check check) {
  Print("check    {}: {} ({})\n", check.name, check.ok ? "yes" : "NO", check.detail);
  report_.checks.push_back(std::move(check));
}

void Lesson::PrintFigures(const Run& run) const {
  Print("{:<8} first token after {:.0f} ms", run.name, run.ttft_ms());
  if (run.decode_tok_s() > 0) {
    Print(", then {:.2f} tokens/s ({:.0f} ms a token)", run.decode_tok_s(), run.tpot_ms());
  }
  if (run.outputs.size() > 1) {
    Print("; {} answers, {:.1f} tokens/s in all", run.outputs.size(), run.output_tok_s());
  }
  Print("; {:.0f} MB of memory\n", static_cast<double>(run.peak_bytes) * 1e-6);
  if (run.decode_tok_s() == 0) return;
  const char* step = run.seqs_per_step > 1 ? "step" : "token";
  Print(
      "roofline {:.1f} MB a {} x {:.2f} {}s/s = {:.2f} GB/s: {:.1f}% of the {:.1f} GB/s that "
      "this {}'s memory was measured to give\n",
      static_cast<double>(run.bytes_per_token) * 1e-6, step, run.decode_tok_s(), step,
      run.bytes_per_second() * 1e-9, 100 * report_.RooflineFraction(run),
      report_.Roofline(run) * 1e-9, run.gpu_read_bandwidth > 0 ? "GPU" : "machine");
}

int Lesson::Finish() {
  report_.read_bandwidth = MeasureReadBandwidth(report_.n_threads);
  for (const Run& run : report_.runs) PrintFigures(run);
  const Moved& moved = report_.moved;
  Print("moved    {}: {:.4g} -> {:.4g}", moved.metric, moved.before, moved.after);
  if (moved.before != 0) Print(" ({:.3g}x)", moved.after / moved.before);
  Print("\n");
  if (!flags_.json.empty()) WriteReport(report_, model_, flags_.json);
  return report_.AllChecksOk() ? 0 : 1;
}

}  // namespace aios
