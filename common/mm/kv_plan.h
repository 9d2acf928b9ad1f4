// KvPlan: how much memory keys and values get, in pages of which size, for how long a context.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "common/backend/backend.h"
#include "common/mm/kv_storage.h"
#include "common/model/config.h"

namespace aios {

// What a person may ask for.
struct KvFlags {
  int64_t memory = 0;  // bytes; 0: as much as is useful
  // Tokens; by default KvStorage::kDefaultPageSize, or the context if that is shorter.
  std::optional<int64_t> page_size = {};
  int64_t context = 0;  // tokens of a sequence, prompt and answer; 0: the model's, or what fits
};

struct KvPlan {
  int64_t page_size = 0;       // tokens
  int64_t n_pages = 0;         // of all sequences
  int64_t context = 0;         // tokens of a sequence, at most
  int64_t bytes_per_page = 0;  // keys and values of all layers
  int64_t n_bytes() const { return n_pages * bytes_per_page; }
};

// Bytes from what people write: "1500000", "512MB" (millions), "2GiB" (of 2^30). `flag` begins the
// sentence of the InputError for everything else.
int64_t ParseBytes(const std::string& text, const std::string& flag);

// Throws InputError for a page size that is not positive or longer than the context, and for a
// context longer than the model's.
void CheckKvFlags(const ModelConfig& config, const KvFlags& flags);

// The context and the page size that the flags mean, before it is known what fits.
int64_t ContextOf(const ModelConfig& config, const KvFlags& flags);
int64_t PageSizeOf(const ModelConfig& config, const KvFlags& flags);

// Fits what is asked for into `free` bytes of the backend's memory: what all else leaves. Without
// --context, the model's context is shortened to what the memory holds; without --kv-memory, the
// plan is for eight sequences of that length, or half of what is free if that is less.
//
// Throws InputError for memory that holds less than one page or less than the context, and for more
// memory than is free; the sentence says what was asked for, what there is, and what would fit.
// REQUIRES: CheckKvFlags.
KvPlan PlanKv(const Backend& backend, const ModelConfig& config, const KvFlags& flags,
              int64_t free);

}  // namespace aios
