// Grades FillStep, step after step until every answer is complete. What is right is found by
// handing out rows one at a time.
#include <algorithm>

#include "chunked_prefill.h"
#include "tools/exercises/grader.h"

namespace aios::exercise {
namespace {

using Sequences = std::vector<Sequence>;

int Int(int64_t n) { return static_cast<int>(n); }
bool Decodes(const Sequence& s) { return s.n_tokens - s.n_computed == 1; }

std::string Text(const Sequences& sequences) {
  std::string text;
  for (size_t i = 0; i < sequences.size() && i < 6; ++i) {
    const Sequence& s = sequences[i];
    text += Format("%s%d (%d of %d computed)", i == 0 ? "" : ", ", s.id, Int(s.n_computed),
                   Int(s.n_tokens));
  }
  return text + (sequences.size() > 6 ? ", ..." : "");
}

std::string Text(const std::vector<Rows>& step) {
  std::string text;
  for (size_t i = 0; i < step.size() && i < 6; ++i) {
    const Rows& rows = step[i];
    text += Format("%s{%d, begin %d, %d rows%s}", i == 0 ? "" : ", ", rows.id, Int(rows.begin),
                   Int(rows.n_rows), rows.samples ? ", samples" : "");
  }
  return "[" + text + (step.size() > 6 ? Format(", ...] (%zu)", step.size()) : "]");
}

// Rows of each sequence.
std::vector<int64_t> RightRows(const Sequences& sequences, int64_t budget, int64_t prefill_chunk) {
  std::vector<int64_t> n_rows(sequences.size());
  for (size_t i = 0; i < sequences.size(); ++i) {
    if (Decodes(sequences[i])) n_rows[i] = 1;
  }
  budget -= std::count(n_rows.begin(), n_rows.end(), 1);
  size_t i = 0;
  for (int64_t given = 0; given < budget && given < prefill_chunk; ++given) {
    while (i < sequences.size() && sequences[i].n_computed + n_rows[i] == sequences[i].n_tokens) {
      ++i;
    }
    if (i < sequences.size()) ++n_rows[i];
  }
  return n_rows;
}

// Each entry, by itself. Returns rows of each sequence.
std::vector<int64_t> CheckEntries(const Sequences& sequences, const std::vector<Rows>& step,
                                  const std::string& shown) {
  std::vector<int64_t> n_rows(sequences.size());
  for (const Rows& rows : step) {
    const auto found = std::find_if(sequences.begin(), sequences.end(),
                                    [&](const Sequence& s) { return s.id == rows.id; });
    Expect(found != sequences.end(), Format("there is no sequence %d", rows.id) + shown,
           "ids are those of the sequences");
    const Sequence& s = *found;
    int64_t& taken = n_rows[found - sequences.begin()];
    Expect(rows.n_rows > 0, Format("sequence %d has %d rows", s.id, Int(rows.n_rows)) + shown,
           "who gets no row is left out");
    Expect(taken == 0, Format("sequence %d is in the step twice", s.id) + shown,
           "who decodes is done with after the first loop");
    taken = rows.n_rows;
    ExpectEqual(Format("begin of sequence %d", s.id), s.n_computed, rows.begin,
                {{0, "a chunk begins where the one before it ended: at n_computed"},
                 {s.n_tokens - 1, "a chunk begins where the one before it ended: at n_computed"}},
                "the first row is the first token that is not computed");
    Expect(rows.begin + rows.n_rows <= s.n_tokens,
           Format("sequence %d: rows %d to %d, and it has %d tokens", s.id, Int(rows.begin),
                  Int(rows.begin + rows.n_rows - 1), Int(s.n_tokens)) +
               shown,
           "the last chunk is as long as what is missing, not longer");
    const bool is_last = rows.begin + rows.n_rows == s.n_tokens;
    Expect(rows.samples == is_last,
           Format("sequence %d: rows %d to %d of %d tokens, samples: %s", s.id, Int(rows.begin),
                  Int(rows.begin + rows.n_rows - 1), Int(s.n_tokens),
                  rows.samples ? "true" : "false") +
               shown,
           is_last ? "the last token that there is has a row: the next one is sampled from it"
                   : "tokens of the prompt still follow: what would be sampled is not the answer");
  }
  return n_rows;
}

void CheckStep(const Sequences& sequences, int64_t budget, int64_t prefill_chunk,
               const std::vector<Rows>& step) {
  const std::string shown = "\nthe sequences: " + Text(sequences) + "\nyours is " + Text(step);
  Expect(!step.empty() || sequences.empty(), "nothing is computed" + shown,
         "a step computes something as long as there is a sequence: is this still the stub?");
  const std::vector<int64_t> yours = CheckEntries(sequences, step, shown);
  const std::vector<int64_t> right = RightRows(sequences, budget, prefill_chunk);

  int64_t total = 0;
  int64_t n_prefill = 0;
  for (size_t i = 0; i < sequences.size(); ++i) {
    total += yours[i];
    if (!Decodes(sequences[i])) n_prefill += yours[i];
  }
  for (size_t i = 0; i < sequences.size(); ++i) {
    Expect(!Decodes(sequences[i]) || yours[i] == 1,
           Format("sequence %d decodes, and has no row", sequences[i].id) + shown,
           "each that decodes has its row before any prompt gets one: else its reader waits");
  }
  Expect(total <= budget, Format("%d rows, the budget is %d", Int(total), Int(budget)) + shown,
         "the rows of those that decode are of the same budget, and so is each chunk");
  Expect(n_prefill <= prefill_chunk,
         Format("%d rows of prefill, the limit is %d", Int(n_prefill), Int(prefill_chunk)) + shown,
         "prefill_chunk is for all prompts of a step together: what one took is gone for the next");
  for (size_t i = 0; i < sequences.size(); ++i) {
    if (yours[i] == right[i]) continue;
    Fail(Format("sequence %d should have %d rows, and has %d", sequences[i].id, Int(right[i]),
                Int(yours[i])) +
             shown,
         yours[i] > right[i] ? "prompts in order: the first gets all that it needs, then the next"
                             : "rows are left, and a prompt that needs them: the limits are budget "
                               "and prefill_chunk, whichever is less, for as many as they last");
  }
  std::vector<int32_t> ids;
  std::vector<int32_t> right_ids;
  ids.reserve(step.size());
  for (const Rows& rows : step) ids.push_back(rows.id);
  for (const bool decodes : {true, false}) {
    for (size_t i = 0; i < sequences.size(); ++i) {
      if (right[i] > 0 && Decodes(sequences[i]) == decodes) right_ids.push_back(sequences[i].id);
    }
  }
  ExpectEqual(right_ids, ids,
              {.hint = "those that decode come first: they share kernels. Both in the order in "
                       "which the sequences stand"});
}

struct Request {
  int64_t n_prompt = 0;
  int64_t n_answer = 0;
  int arrival = 0;  // step
};

// Steps until all are through.
void Run(const std::string& name, const std::vector<Request>& requests, int64_t budget,
         int64_t prefill_chunk) {
  Sequences sequences;
  int step = 0;
  int64_t n_missing = 0;  // rows
  for (const Request& r : requests) n_missing += r.n_prompt + r.n_answer - 1;
  int last_arrival = 0;
  for (const Request& r : requests) last_arrival = std::max(last_arrival, r.arrival);
  for (; n_missing > 0; ++step) {
    BeginCase(Format("%s: budget %d, prefill_chunk %d, step %d", name.c_str(), Int(budget),
                     Int(prefill_chunk), step));
    for (size_t i = 0; i < requests.size(); ++i) {
      if (requests[i].arrival != step) continue;
      sequences.push_back({.id = Int(7 * i + 3), .n_tokens = requests[i].n_prompt});
    }
    const std::vector<Rows> rows = FillStep(sequences, budget, prefill_chunk);
    CheckStep(sequences, budget, prefill_chunk, rows);
    for (const Rows& r : rows) {
      const auto s = std::find_if(sequences.begin(), sequences.end(),
                                  [&](const Sequence& sequence) { return sequence.id == r.id; });
      const Request& request = requests[(r.id - 3) / 7];
      n_missing -= r.n_rows;
      s->n_computed += r.n_rows;
      if (!r.samples) continue;
      ++s->n_tokens;
      if (s->n_tokens == request.n_prompt + request.n_answer) sequences.erase(s);
    }
  }
  // Not one step more than that: no row past the end, none computed twice.
  Expect(sequences.empty() && n_missing == 0,
         Format("%zu sequences are left, %d rows", sequences.size(), Int(n_missing)),
         "a sequence's positions are computed once each, its last answer's token not at all");
}

void CheckOne(const std::string& name, const Sequences& sequences, int64_t budget,
              int64_t prefill_chunk) {
  BeginCase(
      Format("%s: budget %d, prefill_chunk %d", name.c_str(), Int(budget), Int(prefill_chunk)));
  CheckStep(sequences, budget, prefill_chunk, FillStep(sequences, budget, prefill_chunk));
}

}  // namespace
}  // namespace aios::exercise

int main() {
  using namespace aios::exercise;
  const Sequences example = {{1, 21, 20}, {2, 30, 0}, {3, 8, 7}, {4, 5, 0}};
  CheckOne("the header's example", example, 16, 12);
  CheckOne("its second step", {{1, 22, 21}, {2, 30, 12}, {3, 9, 8}, {4, 5, 0}}, 16, 12);
  CheckOne("its third step", {{1, 23, 22}, {2, 30, 24}, {3, 10, 9}, {4, 5, 0}}, 16, 12);
  CheckOne("no sequence", {}, 16, 12);
  CheckOne("all in one step", {{1, 10, 0}, {2, 20, 0}, {3, 30, 0}}, 1000, 1000);
  CheckOne("rows for those that decode, and no more", example, 4, 1);
  CheckOne("every row is taken by decoding", {{1, 9, 8}, {2, 9, 8}, {3, 9, 8}}, 3, 100);
  CheckOne("the budget is the limit", example, 10, 1000);
  CheckOne("a chunk for all prompts", {{1, 10, 0}, {2, 10, 0}, {3, 10, 0}}, 100, 25);
  CheckOne("a prompt before those that decode", {{1, 100, 0}, {2, 9, 8}, {3, 5, 4}}, 8, 8);
  CheckOne("a prompt of one token", {{1, 1, 0}, {2, 2, 0}}, 8, 8);
  CheckOne("a prompt with one token left", {{1, 9, 0}, {2, 9, 8}, {3, 9, 3}}, 8, 8);
  CheckOne("an answer of 40 that is computed anew", {{1, 50, 0}, {2, 9, 8}}, 16, 16);

  for (const int64_t chunk : {1, 3, 12, 64, 512}) {
    Run("three prompts", {{30, 5, 0}, {7, 9, 0}, {64, 1, 0}}, 66, chunk);
    Run("a long prompt comes while others decode", {{4, 60, 0}, {3, 50, 0}, {500, 3, 5}, {8, 8, 6}},
        32, chunk);
  }
  Random random(9);
  for (int i = 0; i < 30; ++i) {
    std::vector<Request> requests;
    for (int n = random.Int(1, 12); n > 0; --n) {
      requests.push_back({random.Int(1, 90), random.Int(1, 20), random.Int(0, 6)});
    }
    Run(Format("random %d", i), requests, random.Int(12, 60), random.Int(1, 60));
  }
  return Passed();
}
