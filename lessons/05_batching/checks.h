// What must hold of the runs, whatever was scheduled how.
#pragma once

#include <vector>

#include "common/engine/report.h"
#include "common/model/model.h"
#include "lessons/05_batching/flags.h"
#include "lessons/05_batching/modes.h"

namespace aios::lessons {

// Whether all runs wrote the tokens of the first one; as far as both go, if they were interrupted.
Check SameTokens(const std::vector<ModeRun>& runs);
// Whether every page was free, or as good as free, after every run.
Check AllPagesBack(const std::vector<ModeRun>& runs);
// Whether nobody who had waited for longer than the patience saw somebody go first who came later.
Check NobodyPassedOver(const std::vector<ModeRun>& runs, double patience);
// In bf16, where another order of adding may prefer another token: shown a run's greedy answers all
// at once, would the engine that keeps nothing and batches nothing have chosen them, but for near
// ties?
Check WouldChoose(const Flags& flags, const Model& model, const ModeRun& run);

}  // namespace aios::lessons
