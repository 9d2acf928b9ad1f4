// The predictions as JSON, for other programs: a test compares them with a run of lesson 02.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "common/profile/machine_profile.h"
#include "lessons/00_introduction/predict.h"

namespace aios::lessons {

// {"schema": 1, "lesson", "machine": what was measured here or null, "model": {...},
//  "devices": [{"name", "measured", limits, "fit", "prefill", "decode": [...], "lessons": [...]}]}
Json ReportOf(const std::optional<MachineProfile>& profile, const Subject& subject,
              const std::vector<DevicePrediction>& predictions);

}  // namespace aios::lessons
