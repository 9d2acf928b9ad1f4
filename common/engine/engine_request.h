// What an Engine keeps of a request, and of a step that was given to the backend. For engine.cc and
// engine_requests.cc alone.
#pragma once

#include <cstdint>
#include <exception>
#include <memory>
#include <utility>
#include <vector>

#include "common/engine/answer.h"
#include "common/engine/engine.h"

namespace aios {

struct Engine::Request {
  Request(EngineRequest request)
      : asked(std::move(request)),
        tokens(asked.generation.prompt_ids),
        answer(asked.generation, asked.tokenizer, asked.on_text) {}

  EngineRequest asked;
  std::vector<TokenId> tokens;  // prompt and answer, as far as the host knows them
  Answer answer;
  // The next token, if a step on its way samples it: by this row of step `ahead_step`.
  int32_t ahead_row = -1;
  int64_t ahead_step = -1;
  // A step on its way computes the next token's keys and values, whichever token that is.
  bool is_ahead = false;
  bool is_done = false;

  // Tells who asked. REQUIRES: the answer has ended.
  void Report(std::exception_ptr failure) {
    is_done = true;
    Outcome outcome = {.generation = {}, .failure = std::move(failure)};
    try {
      outcome.generation = answer.Take();
    } catch (...) {  // who listens to the rest of the text
      outcome.failure = std::current_exception();
      answer.End(FinishReason::kFailed);
      outcome.generation = answer.Take();
    }
    try {
      if (asked.on_done) asked.on_done(std::move(outcome));
    } catch (...) {
      // Nothing is left of the request that could fail.
    }
  }
};

struct Engine::StepOnItsWay {
  std::vector<std::shared_ptr<Request>> samples;  // [n_logit_rows]: whose tokens it samples
  bool wants_logits = false;
};

}  // namespace aios
