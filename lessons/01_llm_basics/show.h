// The parts of a transformer, one function each, in the order in which a token meets them. Each
// prints its part first on numbers small enough to check by hand, then of the real model.
//
// The small numbers are computed twice: step by step as they are printed, and by the kernel that
// the engine uses (kernels/cpu); a check compares the two.
#pragma once

#include <string>

#include "lessons/01_llm_basics/notebook.h"
#include "lessons/01_llm_basics/subject.h"

namespace aios {

// Which attention weights to show.
struct AttentionOptions {
  int layer = -1;   // -1: chosen from what the heads look at
  int head = -1;    // -1: likewise
  std::string svg;  // a file for the picture; empty: none
};
// Throws InputError, before any work, if the model has no such layer or head, or the picture cannot
// be written.
void CheckAttentionOptions(const AttentionOptions& options, const ModelConfig& config);

// The model, and the text as tokens: what the parts will look at.
void Introduce(const Subject& subject, Notebook& notebook);
void ShowEmbedding(Subject& subject, Notebook& notebook);
void ShowNorm(Subject& subject, Notebook& notebook);
void ShowRope(Subject& subject, Notebook& notebook);
void ShowAttention(Subject& subject, Notebook& notebook, const AttentionOptions& options);
void ShowFfn(Subject& subject, Notebook& notebook);
void ShowResidual(Subject& subject, Notebook& notebook);
void ShowLogits(Subject& subject, Notebook& notebook);
void ShowParams(Subject& subject, Notebook& notebook);

}  // namespace aios
