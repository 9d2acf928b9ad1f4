#include "dequantize.h"

namespace aios::exercise {

void DequantizeQ4_1(std::span<const uint8_t> blocks, std::span<float> out) {
  // BEGIN SOLUTION
  constexpr size_t kBlockBytes = 20;
  constexpr size_t kBlockSize = 32;
  const size_t n_blocks = blocks.size() / kBlockBytes;
  for (size_t block = 0; block < n_blocks; ++block) {
    const uint8_t* bytes = &blocks[block * kBlockBytes];
    float* x = &out[block * kBlockSize];
    const float d = HalfToFloat(static_cast<uint16_t>(bytes[0] | bytes[1] << 8));
    const float m = HalfToFloat(static_cast<uint16_t>(bytes[2] | bytes[3] << 8));
    for (int j = 0; j < 16; ++j) {
      const int low = bytes[4 + j] & 15;
      const int high = bytes[4 + j] >> 4;
      x[j] = d * static_cast<float>(low) + m;
      x[j + 16] = d * static_cast<float>(high) + m;
    }
  }
  // END SOLUTION
}

}  // namespace aios::exercise
