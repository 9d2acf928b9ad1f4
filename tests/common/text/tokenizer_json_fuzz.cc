// Any bytes as tokenizer.json: an InputError, or a tokenizer that encodes and decodes.
#include <cstdint>
#include <string>
#include <string_view>

#include "common/base/error.h"
#include "common/text/tokenizer_json.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using aios::SpecialTokens;
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  try {
    const auto tokenizer = aios::BpeFromTokenizerJson(text, "fuzz");
    for (const auto special : {SpecialTokens::kAsText, SpecialTokens::kRecognize}) {
      tokenizer->Decode(tokenizer->Encode("ab <s> user's e\u0301\u0323 12345\n\n  x", special));
    }
    tokenizer->Encode(text, SpecialTokens::kRecognize);
  } catch (const aios::InputError&) {
  }
  return 0;
}
