// The model and the text that the parts look at.
#include <algorithm>

#include "common/base/error.h"
#include "common/base/utf8.h"
#include "common/text/bpe.h"
#include "lessons/01_llm_basics/merge_tree.h"
#include "lessons/01_llm_basics/show.h"

namespace aios {

namespace {

// How the longest word of the text came together, if the tokenizer is one that merges.
void PrintLongestWord(const Subject& subject, const Notebook& notebook) {
  const auto* bpe = dynamic_cast<const BpeTokenizer*>(&subject.tokenizer());
  if (bpe == nullptr) return;
  const std::vector<WordTrace> words = bpe->Trace(subject.text());
  const auto longest =
      std::ranges::max_element(words, {}, [](const WordTrace& word) { return word.merges.size(); });
  if (longest == words.end() || longest->merges.empty()) return;
  notebook.Print("merges   of {}, {} bytes; each with its rank: the lowest comes first\n{}",
                 Quoted(longest->word), longest->bytes.size(),
                 MergeTree(*bpe, *longest).Text("           "));
}

}  // namespace

void Introduce(const Subject& subject, Notebook& notebook) {
  const ModelConfig& config = subject.config();
  notebook.Print(
      "model    {}: {:.1f}M parameters in {:.1f} MB\n"
      "           {} layers, d_model {}, {} heads ({} key-value), vocabulary {}\n",
      Escaped(config.name), static_cast<double>(subject.model().n_params()) * 1e-6,
      static_cast<double>(subject.model().n_bytes()) * 1e-6, config.n_layers, config.d_model,
      config.n_heads, config.n_kv_heads, config.vocab_size);
  if (!notebook.in_full()) notebook.Title("Tokenizer: a text becomes numbers");
  constexpr int64_t kMaxShown = 32;
  notebook.Print("text     {} bytes, {} tokens:", subject.text().size(), subject.n_tokens());
  for (int64_t t = 0; t < std::min(kMaxShown, subject.n_tokens()); ++t) {
    const TokenId token = subject.tokens()[t];
    notebook.Print(" {} {}", subject.NameOf(token), token);
  }
  notebook.Print("{}\n", subject.n_tokens() > kMaxShown ? " ..." : "");
  if (!notebook.in_full()) PrintLongestWord(subject, notebook);

  Json& report = notebook.report();
  report["model"] = {{"name", ReplaceInvalidUtf8(config.name)},
                     {"parameters", subject.model().n_params()},
                     {"bytes", subject.model().n_bytes()}};
  report["text"] = subject.text();
  report["tokens"] = subject.tokens();
}

}  // namespace aios
