// A long beginning that several prompts share.
#pragma once

#include <functional>
#include <vector>

#include "common/engine/engine.h"
#include "common/engine/lesson.h"

namespace aios::lessons {

// Asks a few questions that all begin with the same instructions, one after another, and prints for
// each how many of its tokens were known already and how long the first token of the answer took.
// Adds the figures to the report. A model without a tokenizer gets ids that mean nothing. Calls
// `after_each` after each answer. Returns the answers, greedy ones: none if the context is too
// short.
std::vector<Output> ShareAPrefix(Lesson& lesson, Engine& engine,
                                 const std::function<void()>& after_each);

}  // namespace aios::lessons
