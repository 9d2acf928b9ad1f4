// Faults: bugs as real engines had them, to be planted with --fault and found with the lesson's
// tools. If you want to hunt them, do not read faults.cc first.
#pragma once

#include "common/engine/engine.h"
#include "lessons/05_batching/flags.h"

namespace aios::lessons {

// Makes the engine's options those of an engine with the bug; kNone changes nothing.
void Plant(Fault fault, EngineOptions& options);

}  // namespace aios::lessons
