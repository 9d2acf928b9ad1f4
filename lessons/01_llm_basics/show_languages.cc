// How well a vocabulary fits a language: the more of it was in the text that trained it, the more
// bytes go into a token. Who writes in another language pays with context and time.
#include <fmt/format.h>

#include <algorithm>
#include <string>
#include <vector>

#include "lessons/01_llm_basics/languages.h"
#include "lessons/01_llm_basics/merge_tree.h"
#include "lessons/01_llm_basics/tokenizer_parts.h"

namespace aios {
namespace {

struct Row {
  std::string language;
  size_t n_chars;
  size_t n_bytes;
  size_t n_tokens;
  double BytesPerToken() const {
    return static_cast<double>(n_bytes) / static_cast<double>(n_tokens);
  }
};

constexpr double kMaxBytesPerToken = 6;  // the bars' scale

std::string Picture(const std::vector<Row>& rows) {
  constexpr int kLeft = 110;
  constexpr int kWidth = 420;
  constexpr int kStep = 30;
  std::string svg = fmt::format(
      "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 720 {0}\" width=\"720\" "
      "height=\"{0}\">\n<style>text {{ font-family: sans-serif; font-size: 14px; fill: #1c2733 }}"
      "</style>\n<title>Bytes a token by language</title>\n"
      "<rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>\n"
      "<text x=\"20\" y=\"28\" font-weight=\"bold\">The same meaning: bytes a token, and tokens in "
      "all</text>\n",
      60 + kStep * rows.size());
  int y = 46;
  for (const Row& row : rows) {
    const double width = std::min(row.BytesPerToken() / kMaxBytesPerToken, 1.0) * kWidth;
    svg += fmt::format(
        "<text x=\"{}\" y=\"{}\" text-anchor=\"end\">{}</text>\n"
        "<rect x=\"{}\" y=\"{}\" width=\"{:.1f}\" height=\"20\" fill=\"#2f6fc4\"/>\n"
        "<text x=\"{:.1f}\" y=\"{}\">{:.2f}, {} tokens</text>\n",
        kLeft - 10, y + 15, XmlEscaped(row.language), kLeft, y, width, kLeft + width + 8, y + 15,
        row.BytesPerToken(), row.n_tokens);
    y += kStep;
  }
  return svg + "</svg>\n";
}

}  // namespace

Json ShowLanguages(const Tokenizer& tokenizer, const std::string& svg, std::FILE* out) {
  std::vector<Row> rows;
  for (const auto& [language, text] : kLanguageSamples) {
    const auto n_chars =
        std::count_if(text.begin(), text.end(), [](char c) { return (c & 0xC0) != 0x80; });
    rows.push_back({.language = std::string(language),
                    .n_chars = static_cast<size_t>(n_chars),
                    .n_bytes = text.size(),
                    .n_tokens = tokenizer.Encode(text, SpecialTokens::kAsText).size()});
  }
  fmt::print(out, "\nlanguages  the same two sentences, in the model's vocabulary\n");
  fmt::print(out, "  {:<9} {:>5} {:>6} {:>7} {:>9} {:>12}\n", "", "chars", "bytes", "tokens",
             "x English", "bytes/token");
  Json report = Json::array();
  for (const Row& row : rows) {
    std::string bar;
    for (double at = 0.125; at < row.BytesPerToken(); at += 0.25) bar += "█";
    fmt::print(out, "  {:<9} {:>5} {:>6} {:>7} {:>9.1f} {:>12.2f}  {}\n", row.language, row.n_chars,
               row.n_bytes, row.n_tokens,
               static_cast<double>(row.n_tokens) / static_cast<double>(rows[0].n_tokens),
               row.BytesPerToken(), bar);
    report.push_back({{"language", row.language},
                      {"chars", row.n_chars},
                      {"bytes", row.n_bytes},
                      {"tokens", row.n_tokens}});
  }
  if (!svg.empty()) WriteSvg(svg, Picture(rows), out);
  return report;
}

}  // namespace aios
