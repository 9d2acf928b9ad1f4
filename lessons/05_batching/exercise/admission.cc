#include "admission.h"

#include <algorithm>

namespace aios::exercise {

std::vector<int32_t> Admit(std::span<const WaitingRequest> waiting, Room room) {
  // BEGIN SOLUTION
  // STUB: return {};
  std::vector<int32_t> admitted;
  for (const WaitingRequest& request : waiting) {
    if (room.n_places == 0 || room.n_rows == 0) break;
    const int64_t n_pages = (request.n_tokens + room.page_size - 1) / room.page_size;
    if (n_pages + room.n_running > room.n_free_pages) break;
    --room.n_places;
    room.n_rows -= std::min(room.n_rows, request.n_tokens);
    room.n_free_pages -= n_pages;
    ++room.n_running;
    admitted.push_back(request.id);
  }
  return admitted;
  // END SOLUTION
}

}  // namespace aios::exercise
