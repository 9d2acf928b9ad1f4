// Any bytes are a GGUF file or an InputError. What opens is read to its last byte.
#include <cstddef>
#include <cstdint>

#include "common/base/error.h"
#include "common/loader/gguf.h"

namespace aios {
namespace {

// The getters, whose checks come after those of opening.
void ReadMetadata(const GgufFile& file, std::string_view key) {
  const auto ignore_errors = [](const auto& read) {
    try {
      (void)read();
    } catch (const InputError&) {
    }
  };
  ignore_errors([&] { return file.Int(key); });
  ignore_errors([&] { return file.Float(key); });
  ignore_errors([&] { return file.Bool(key); });
  ignore_errors([&] { return file.String(key); });
  ignore_errors([&] { return file.Strings(key); });
  ignore_errors([&] { return file.Ints(key); });
  ignore_errors([&] { return file.Floats(key); });
}

}  // namespace
}  // namespace aios

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  try {
    const auto file = aios::GgufFile::Parse(std::as_bytes(std::span(data, size)), "fuzz");
    for (const auto key : file.keys()) aios::ReadMetadata(file, key);
    for (const aios::NamedTensor& t : file.tensors()) {
      const auto* bytes = static_cast<const volatile uint8_t*>(t.tensor.data());
      for (int64_t i = 0; i < t.tensor.n_bytes(); ++i) (void)bytes[i];
    }
  } catch (const aios::InputError&) {
  }
  return 0;
}
