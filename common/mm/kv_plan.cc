#include "common/mm/kv_plan.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <string_view>
#include <utility>

#include "common/base/error.h"

namespace aios {
namespace {

constexpr int64_t kContexts = 8;  // sequences of full length

// Bytes for people.
std::string Amount(int64_t n_bytes) {
  const auto n = static_cast<double>(n_bytes);
  if (n_bytes >= 1'000'000'000) return fmt::format("{:.2f} GB", n * 1e-9);
  if (n_bytes >= 1'000'000) return fmt::format("{:.1f} MB", n * 1e-6);
  return fmt::format("{} bytes", n_bytes);
}

}  // namespace

int64_t ParseBytes(const std::string& text, const std::string& flag) {
  constexpr std::array<std::pair<std::string_view, double>, 8> kUnits = {{{"", 1},
                                                                          {"B", 1},
                                                                          {"kB", 1e3},
                                                                          {"MB", 1e6},
                                                                          {"GB", 1e9},
                                                                          {"KiB", 0x1p10},
                                                                          {"MiB", 0x1p20},
                                                                          {"GiB", 0x1p30}}};
  double number = 0;
  const char* end = text.data() + text.size();
  const auto [unit, error] = std::from_chars(text.data(), end, number);
  if (error == std::errc() && std::isfinite(number) && number > 0) {
    for (const auto& [name, bytes] : kUnits) {
      if (std::string_view(unit, end) != name) continue;
      // Not less than a byte: a plan takes 0 for "as much as is useful".
      if (number * bytes >= 1 && number * bytes < 0x1p62) return std::llround(number * bytes);
    }
  }
  throw InputError(
      "{}: {} is not an amount of memory: write a number and kB, MB, GB, KiB, MiB or GiB, as in "
      "512MB or 2GiB",
      flag, Quoted(text));
}

int64_t ContextOf(const ModelConfig& config, const KvFlags& flags) {
  return flags.context > 0 ? flags.context : config.max_context;
}

int64_t PageSizeOf(const ModelConfig& config, const KvFlags& flags) {
  return flags.page_size.value_or(std::min(KvStorage::kDefaultPageSize, ContextOf(config, flags)));
}

void CheckKvFlags(const ModelConfig& config, const KvFlags& flags) {
  if (flags.page_size.value_or(1) < 1) {
    throw InputError("--page-size {}: a page must hold at least one token", *flags.page_size);
  }
  if (flags.context < 0 || flags.context > config.max_context) {
    throw InputError("--context {}: {} was made for contexts of 1 to {} tokens", flags.context,
                     config.name, config.max_context);
  }
  if (PageSizeOf(config, flags) > ContextOf(config, flags)) {
    throw InputError("--page-size {}: a page would be longer than the context of {} tokens",
                     PageSizeOf(config, flags), ContextOf(config, flags));
  }
}

KvPlan PlanKv(const Backend& backend, const ModelConfig& config, const KvFlags& flags,
              int64_t free) {
  free = std::max<int64_t>(free, 0);
  const int64_t page_size = PageSizeOf(config, flags);
  KvPlan plan = {.page_size = page_size,
                 .context = ContextOf(config, flags),
                 .bytes_per_page = KvStorage::BytesPerPage(backend, config, page_size)};
  if (flags.memory > free) {
    throw InputError("--kv-memory {}: only {} are free on {} beside weights and activations",
                     Amount(flags.memory), Amount(free), backend.description());
  }
  const int64_t pages_of_context = PagesFor(plan.context, plan.page_size);
  plan.n_pages = flags.memory > 0
                     ? flags.memory / plan.bytes_per_page
                     : std::min(kContexts * pages_of_context, free / 2 / plan.bytes_per_page);
  plan.n_pages = std::min<int64_t>(plan.n_pages, INT32_MAX);
  if (plan.n_pages < 1) {
    throw InputError("{} for keys and values are less than one page: {} tokens take {}{}",
                     Amount(flags.memory > 0 ? flags.memory : free / 2), plan.page_size,
                     Amount(plan.bytes_per_page),
                     plan.page_size > 1 ? "; take a smaller --page-size" : "");
  }
  if (plan.n_pages < pages_of_context) {
    const int64_t fits = plan.n_pages * plan.page_size;
    if (flags.context > 0) {
      throw InputError("--context {}: its keys and values take {}, and {} hold {} tokens",
                       flags.context, Amount(pages_of_context * plan.bytes_per_page),
                       Amount(plan.n_bytes()), fits);
    }
    plan.context = fits;
  }
  return plan;
}

}  // namespace aios
