// Any bytes are a safetensors file or an InputError. What opens is read to its last byte.
#include <cstddef>
#include <cstdint>

#include "common/base/error.h"
#include "common/loader/safetensors.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  try {
    const auto file = aios::SafetensorsFile::Parse(std::as_bytes(std::span(data, size)), "fuzz");
    for (const aios::NamedTensor& t : file.tensors()) {
      const auto* bytes = static_cast<const volatile uint8_t*>(t.tensor.data());
      for (int64_t i = 0; i < t.tensor.n_bytes(); ++i) (void)bytes[i];
    }
  } catch (const aios::InputError&) {
  }
  return 0;
}
