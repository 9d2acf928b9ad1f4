#include "lessons/01_llm_basics/show_tokenizer.h"

namespace aios {

Json ShowTokenizer(const TokenizerOptions& options, std::FILE* out) {
  std::fprintf(out, "%s\n", options.model.c_str());
  return Json::object();
}

}  // namespace aios
