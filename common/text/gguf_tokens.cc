#include "common/text/gguf_tokens.h"

#include "common/base/error.h"

namespace aios {

GgufTokens ReadGgufTokens(const GgufFile& gguf) {
  GgufTokens tokens;
  auto texts = gguf.Strings("tokenizer.ggml.tokens");
  if (!texts || texts->empty())
    throw InputError("{}: tokenizer.ggml.tokens is missing", gguf.name());
  tokens.texts = std::move(*texts);
  const auto types = gguf.Ints("tokenizer.ggml.token_type");
  if (!types) {
    tokens.types.assign(tokens.texts.size(), GgufTokenType::kNormal);
    return tokens;
  }
  if (types->size() != tokens.texts.size()) {
    throw InputError("{}: tokenizer.ggml.token_type has {} entries for {} tokens", gguf.name(),
                     types->size(), tokens.texts.size());
  }
  tokens.types.reserve(types->size());
  for (size_t id = 0; id < types->size(); ++id) {
    const int32_t type = (*types)[id];
    if (type < 1 || type > 6) {
      throw InputError("{}: token {} has the type {}, which is none of 1 to 6", gguf.name(), id,
                       type);
    }
    tokens.types.push_back(static_cast<GgufTokenType>(type));
  }
  return tokens;
}

}  // namespace aios
