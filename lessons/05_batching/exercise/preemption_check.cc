// Grades Preempt, MakeRoom and Admit: each call (preemption_calls.h), and whole runs with a toy
// model, whose next token depends on the keys and values of all tokens before it, as they are found
// in memory. Each answer must be the one that the sequence has alone.
#include <algorithm>
#include <map>

#include "preemption.h"
#include "preemption_calls.h"
#include "preemption_memory.h"
#include "tools/exercises/grader.h"

namespace aios::exercise {
namespace {

struct Request {
  int64_t n_prompt = 0;
  int64_t n_answer = 0;
};

Sequence Begin(int32_t id, int64_t n_prompt) {
  Sequence s = {.id = id};
  for (int64_t p = 0; p < n_prompt; ++p) {
    s.tokens.push_back(static_cast<int32_t>(Mix(id, 7 * p) % 1000));
  }
  return s;
}

// Its tokens when nobody else is there: keys and values are never lost.
std::vector<int32_t> Alone(Sequence s, int64_t n_tokens) {
  while (static_cast<int64_t>(s.tokens.size()) < n_tokens) {
    uint64_t hash = s.id;
    for (size_t p = 0; p < s.tokens.size(); ++p) {
      hash = Mix(hash, KeyAndValue(s.tokens[p], static_cast<int64_t>(p)));
    }
    s.tokens.push_back(static_cast<int32_t>(hash % 1000));
  }
  return s.tokens;
}

// All of them, until they are through.
void Run(const std::string& name, const std::vector<Request>& requests, int64_t n_pages,
         int64_t page_size, int64_t n_host_tokens) {
  const std::string what =
      Format("%s: %zu requests, %d pages of %d, host memory for %d tokens", name.c_str(),
             requests.size(), Int(n_pages), Int(page_size), Int(n_host_tokens));
  BeginCase(what);
  Checked checked(n_pages, page_size, n_host_tokens);
  std::deque<Sequence> sequences;
  std::vector<std::vector<int32_t>> alone;
  std::map<const Sequence*, size_t> length;
  int64_t n_positions = 0;
  int64_t n_steps_alone = 0;
  for (const Request& r : requests) {
    sequences.push_back(Begin(Int(static_cast<int64_t>(sequences.size())) + 1, r.n_prompt));
    alone.push_back(Alone(sequences.back(), r.n_prompt + r.n_answer));
    length[&sequences.back()] = alone.back().size();
    n_positions += r.n_prompt + r.n_answer - 1;
    n_steps_alone += r.n_answer;
    checked.Submit(sequences.back());
  }
  size_t n_done = 0;
  int64_t n_rows = 0;
  for (int64_t step = 0; n_done < sequences.size(); ++step) {
    BeginCase(Format("%s, step %d", what.c_str(), Int(step)));
    // The one that was admitted first gets a token in each step, so they all end by then.
    Expect(step < n_steps_alone, "no end: one after another they would have been through by now",
           "who was admitted first must get on in each step");
    while (checked.Admit()) {
    }
    const std::deque<Sequence*> running = checked.queues.admitted;
    for (Sequence* s : running) {
      const std::deque<Sequence*>& admitted = checked.queues.admitted;
      if (std::find(admitted.begin(), admitted.end(), s) == admitted.end()) continue;
      if (!checked.MakeRoom(*s)) continue;
      checked.Step(*s, &n_rows);
      if (s->tokens.size() < length[s]) continue;
      checked.Finish(*s);
      ++n_done;
    }
  }
  for (size_t i = 0; i < sequences.size(); ++i) {
    ExpectEqual(alone[i], sequences[i].tokens,
                {.hint = "the answer is not the one that the sequence has alone: which of tokens, "
                         "keys and values was lost on the way?"});
  }
  ExpectEqual("free pages at the end", n_pages, checked.memory.n_free(), {}, "a page is lost");
  ExpectEqual("tokens in host memory at the end", 0, checked.memory.n_host(), {},
              "somebody is swapped out who is through");
  if (n_host_tokens >= n_positions) {
    ExpectEqual("rows computed", n_positions, n_rows, {},
                "with host memory for all nothing is computed twice");
  }
}

void CheckExample(int64_t n_host_tokens) {
  BeginCase(Format("the header's example, host memory for %d tokens", Int(n_host_tokens)));
  Checked checked(4, 4, n_host_tokens);
  Sequence a = Begin(1, 8);
  Sequence b = Begin(2, 8);
  Sequence c = Begin(3, 4);  // waits
  int64_t n_rows = 0;
  for (Sequence* s : {&a, &b, &c}) checked.Submit(*s);
  for (int i = 0; i < 3; ++i) checked.Admit();
  for (Sequence* s : {&a, &b}) {
    checked.MakeRoom(*s);
    checked.Step(*s, &n_rows);
  }
  checked.MakeRoom(a);
  checked.Step(a, &n_rows);
  checked.Admit();
  checked.Finish(a);
  checked.Admit();
  checked.MakeRoom(b);
  checked.Step(b, &n_rows);
  checked.Admit();
}

// Somebody, in the middle of whatever it does, two times.
void CheckPreempt(int64_t n_host_tokens) {
  BeginCase(Format("Preempt two of three, admit them again; host memory for %d tokens",
                   Int(n_host_tokens)));
  Checked checked(20, 4, n_host_tokens);
  std::deque<Sequence> sequences;
  int64_t n_rows = 0;
  for (int i = 1; i <= 4; ++i) {
    sequences.push_back(Begin(i, 5 * i));
    checked.Submit(sequences.back());
    if (i < 4) checked.Admit();
  }
  for (int i = 0; i < 3; ++i) {
    checked.MakeRoom(sequences[i]);
    checked.Step(sequences[i], &n_rows);
  }
  checked.Preempt();
  checked.Preempt();
  while (checked.Admit()) {
  }
  const std::deque<Sequence*> running = checked.queues.admitted;
  for (Sequence* s : running) {
    if (checked.MakeRoom(*s)) checked.Step(*s, &n_rows);
  }
}

}  // namespace
}  // namespace aios::exercise

int main() {
  using namespace aios::exercise;
  for (const int64_t n_host : {0, 8, 100}) CheckExample(n_host);
  for (const int64_t n_host : {0, 12, 100}) CheckPreempt(n_host);

  Run("room for all", {{10, 10}, {20, 5}}, 40, 4, 0);
  Run("alone, with every page", {{30, 11}}, 10, 4, 0);
  for (const int64_t n_host : {0, 20, 10'000}) {
    Run("two that grow", {{8, 20}, {8, 20}}, 8, 4, n_host);
    Run("a long one, then short ones", {{20, 60}, {2, 9}, {2, 9}, {2, 9}}, 20, 4, n_host);
    Run("pages of one token", {{3, 20}, {9, 14}, {5, 5}}, 25, 1, n_host);
    Run("each could fill memory", {{4, 60}, {10, 54}, {40, 24}, {1, 63}, {64, 1}}, 4, 16, n_host);
  }
  Random random(11);
  for (int i = 0; i < 40; ++i) {
    const int64_t page_size = std::vector<int64_t>{1, 3, 16, 17}[i % 4];
    std::vector<Request> requests;
    int64_t n_pages = 1;
    for (int n = random.Int(1, 8); n > 0; --n) {
      requests.push_back({random.Int(1, 40), random.Int(1, 40)});
      const int64_t n_tokens = requests.back().n_prompt + requests.back().n_answer;
      n_pages = std::max(n_pages, (n_tokens + page_size - 1) / page_size);
    }
    Run(Format("random %d", i), requests, n_pages + random.Int(0, 4), page_size,
        std::vector<int64_t>{0, 30, 10'000}[i % 3]);
  }
  return Passed();
}
