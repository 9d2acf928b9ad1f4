// --simulate: what a policy does to thousands of requests, without running a model: the scheduler
// is the engine's own, and a step takes as long as lesson 00's roofline says.
#pragma once

#include <string>

#include "lessons/05_batching/flags.h"

namespace aios::lessons {

// Prints what is simulated, and a table with a line for each policy. Returns main()'s exit code.
// Throws InputError for a trace, a model or memory that cannot be.
int SimulatePolicies(const Flags& flags, const std::string& argv0);

}  // namespace aios::lessons
