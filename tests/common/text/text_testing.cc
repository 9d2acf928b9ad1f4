#include "tests/common/text/text_testing.h"

#include <cstdlib>
#include <iterator>

#include "common/base/mapped_file.h"
#include "common/base/utf8.h"

namespace aios {

std::string SmolLm2Path() { return std::getenv("SMOLLM2"); }

Json Golden(const std::string& path) {
  const std::string full = "tests/golden/" + path;
  return ParseJson(ReadTextFile(full), full);
}

char32_t RandomChar(std::mt19937& random) {
  constexpr char32_t kEnds[] = {0x80, 0x250, 0x800, 0x3100, 0xA000, 0x20000, 0x110000};
  while (true) {
    const char32_t c = random() % kEnds[random() % std::size(kEnds)];
    if (c < 0xD800 || c > 0xDFFF) return c;
  }
}

std::string RandomText(std::mt19937& random, int n_chars) {
  static constexpr const char32_t* kKinds[] = {
      U" \n\r\t\v\f\u0085\u00A0\u1680\u2003\u2028\u2029\u202F\u205F\u3000",
      U"''''sStTmMdDrReEvVlL\u017F\u212A\u2019",
      U"0123456789\u00B2\u00BD\u0663\u2167\u3007",
      U"abcXYZ\u00E9\u0436\u4F60\u597D\u1112\u1161\u11AB",
      U"\u0301\u0323\u0344\u200D\u20E3.,;=_<|>!\"\\/-",
  };
  std::string text;
  const char32_t* kind = kKinds[0];
  for (int i = 0; i < n_chars; ++i) {
    // Runs of one kind are as likely as changes.
    if (random() % 2 == 0) kind = kKinds[random() % std::size(kKinds)];
    const std::u32string_view choices = kind;
    const char32_t c = random() % 8 == 0 ? RandomChar(random) : choices[random() % choices.size()];
    AppendUtf8(c, text);
  }
  return text;
}

std::string Repeat(std::string_view part, size_t n) {
  std::string text;
  text.reserve(part.size() * n);
  for (size_t i = 0; i < n; ++i) text += part;
  return text;
}

}  // namespace aios
