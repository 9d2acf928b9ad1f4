#include "kernels/cpu/embed.h"

#include <stdexcept>
#include <string>

#include "kernels/cpu/dequantize.h"

namespace aios::kernels::cpu {

// All that is fast or slow about it is Dequantize, which has the SIMD.
void Embed(const EmbedArgs& args, int64_t begin, int64_t end) {
  const FormatInfo info = Info(args.format);
  if (args.d_model % info.block_size != 0) {
    throw std::invalid_argument("Embed: d_model " + std::to_string(args.d_model) +
                                " is not a multiple of the block size of " +
                                std::string(info.name));
  }
  const int64_t row_bytes = args.d_model / info.block_size * info.block_bytes;
  for (int64_t row = begin; row < end; ++row) {
    const int64_t token = args.tokens[row];
    if (token < 0 || token >= args.vocab_size) {
      throw std::invalid_argument("Embed: token " + std::to_string(token) +
                                  " is outside the vocabulary of " +
                                  std::to_string(args.vocab_size));
    }
    Dequantize(args.format, static_cast<const char*>(args.table) + token * row_bytes, args.d_model,
               args.out + row * args.d_model);
  }
}

}  // namespace aios::kernels::cpu
