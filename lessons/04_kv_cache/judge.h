// Whether answers are the same, however their keys and values were kept.
#pragma once

#include <vector>

#include "common/engine/report.h"
#include "common/model/model.h"
#include "lessons/04_kv_cache/flags.h"

namespace aios::lessons {

// Shown an answer's tokens all at once, would the engine that keeps nothing have chosen each of
// them? For greedy answers. `exact`: in f32, where every token must be the same. In bf16, which
// keeps 8 bits of a number, another order of adding may prefer another token where two are nearly
// as likely.
Check WouldChoose(const Flags& flags, const Model& model, const std::vector<Output>& outputs,
                  bool exact);

// Whether the tokens of `after` are those of `before`; as far as both go, if they were interrupted.
Check SameTokens(const std::vector<Output>& before, const std::vector<Output>& after);

}  // namespace aios::lessons
