// What lesson 00 shows in the terminal, in this order.
#pragma once

#include <cstdio>

#include "common/profile/machine_profile.h"
#include "lessons/00_introduction/predict.h"

namespace aios::lessons {

// This machine, and what it was measured to do.
void PrintMachine(std::FILE* out, const MachineProfile& profile);
// Parameters by component, what a token costs, and the arithmetic of each.
void PrintModel(std::FILE* out, const Subject& subject);
// What fits, the first token, and a token of each batch.
void PrintDevice(std::FILE* out, const Subject& subject, const DevicePrediction& prediction);
// What each later lesson changes.
void PrintLessons(std::FILE* out, const ModelConfig& config, const DevicePrediction& prediction);

}  // namespace aios::lessons
