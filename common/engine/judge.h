// Teacher forcing as a judge of answers: shown an answer's tokens all at once, would a model have
// chosen each of them? What a token sees is only what comes before it, so one pass tells.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "common/engine/report.h"
#include "common/text/tokenizer.h"

namespace aios {

// A model as judge: the logits of what follows each of a sequence's last n_last tokens, [n_last,
// vocab_size].
using LastLogits =
    std::function<std::vector<float>(std::span<const TokenId> sequence, int64_t n_last)>;

// Judges greedy answers, none of which is empty. `exact`: in f32, where each token must be the
// judge's best. Else, in bf16, which keeps 8 bits of each number, another token may be as good:
// logits are some 10 to 20, and the judge's best may lead by 0.5.
Check JudgeByForcing(std::string name, const LastLogits& judge, const std::vector<Output>& outputs,
                     bool exact);

}  // namespace aios
