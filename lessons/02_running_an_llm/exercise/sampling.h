// Exercise: from a model's scores to the next token.
//
//   1. probabilities: softmax of logits / temperature
//   2. candidates, the most likely first; of equally likely ones the smaller token first
//   3. top-k: only the first k of them stay (0: all), and what stays is made to add up to 1 again
//   4. top-p: only the fewest first ones stay that together have probability top_p or more, and
//   what
//      stays is made to add up to 1 again
//   5. the draw: walk along the candidates and add up their probabilities; the token is the first
//   at
//      which the sum is greater than `uniform`
//
// Temperature 0 means greedy: the most likely token, whatever the other numbers are.
//
// By hand: logits [ln 1, ln 4, ln 2, ln 3] at temperature 1 are probabilities [0.1, 0.4, 0.2, 0.3].
// The candidates are tokens 1, 3, 2, 0. With top_k = 3 they become 1: 0.444, 3: 0.333, 2: 0.222.
// With top_p = 0.7, tokens 1 and 3 stay (0.444 is less than 0.7, 0.778 is not): 0.571 and 0.429.
// uniform = 0.5 draws token 1, uniform = 0.6 draws token 3.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace aios::exercise {

struct SamplingParams {
  float temperature = 1;  // 0 or more
  int top_k = 0;          // 0 or more; may be more than there are tokens
  float top_p = 1;        // greater than 0, at most 1
};

// The next token.
//   logits   [vocab_size], at least one; finite, but as large as 1000
//   uniform  a random number from [0, 1), which somebody else drew
int32_t Sample(std::span<const float> logits, const SamplingParams& params, double uniform);

}  // namespace aios::exercise
