#include "common/loader/byte_reader.h"

#include <string>

#include "common/base/error.h"

namespace aios {

void ByteReader::ThrowCutOff(uint64_t n, size_t element_size) const {
  const std::string item = item_name_.empty()
                               ? std::string(item_kind_)
                               : fmt::format("{} {}", item_kind_, Quoted(item_name_));
  const std::string amount = n == 1              ? fmt::format("{}", element_size)
                             : element_size == 1 ? fmt::format("{}", n)
                                                 : fmt::format("{} x {}", n, element_size);
  throw InputError("{}: {} is cut off: it needs {} bytes at byte {}, and the file ends at byte {}",
                   file_, item, amount, offset_, bytes_.size());
}

}  // namespace aios
