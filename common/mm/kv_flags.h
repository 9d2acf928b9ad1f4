// The flags of a program whose engine has a KV cache.
#pragma once

#include "common/mm/kv_plan.h"

namespace CLI {
class App;
}

namespace aios {

// Adds --kv-memory, --page-size and --context, which go to `flags`: it must outlive the parsing.
// Whether they fit the model and the memory is CheckKvFlags' and PlanKv's affair.
void AddKvFlags(CLI::App& app, KvFlags& flags);

}  // namespace aios
