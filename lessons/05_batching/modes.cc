#include "lessons/05_batching/modes.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <exception>
#include <string_view>
#include <thread>
#include <utility>

#include "common/base/cli.h"
#include "common/base/error.h"
#include "lessons/05_batching/faults.h"

namespace aios::lessons {
namespace {

// One run of the jobs through an engine.
class Runner {
 public:
  Runner(const Mode& mode, double patience, const std::vector<Job>& jobs, Engine& engine, Top* top)
      : mode_(mode),
        jobs_(jobs),
        engine_(engine),
        top_(top),
        start_(engine.now()),
        recorder_(mode.name, start_, patience),
        outputs_(jobs.size()) {
    engine.Observe([this](const SchedulerEvent& event) {
      recorder_.Event(event);
      if (top_ != nullptr) top_->Event(event);
    });
    if (top_ != nullptr) top_->Begin(start_);
  }
  Runner(const Runner&) = delete;
  Runner& operator=(const Runner&) = delete;
  ~Runner() { engine_.Observe({}); }

  ModeRun Run() {
    const std::atomic<bool>& interrupted = InterruptFlag();
    while (n_done_ < jobs_.size() && !interrupted) {
      SubmitThoseThatHaveCome();
      if (n_done_ == n_submitted_) {
        Sleep();
      } else {
        Step();
      }
      if (top_ != nullptr && top_->IsDue(engine_.now())) top_->Draw(Frame(), engine_.now());
      if (failure_) std::rethrow_exception(failure_);
    }
    const double end = engine_.now();
    for (size_t id = 0; id < n_submitted_; ++id) engine_.Cancel(id);
    if (top_ != nullptr) top_->Draw(Frame(), end);
    ModeRun run = {.timeline = recorder_.Take(end),
                   .outputs = std::move(outputs_),
                   .n_pages = engine_.cache().n_pages(),
                   .n_pages_back = engine_.memory().n_free()};
    const auto n_steps = static_cast<int64_t>(std::max<size_t>(run.timeline.steps.size(), 1));
    run.step_bytes =
        engine_.bytes_per_token() + n_keys_ / n_steps * engine_.cache().bytes_per_token();
    return run;
  }

 private:
  double ArrivalOf(size_t job) const { return start_ + jobs_[job].arrival; }

  void SubmitThoseThatHaveCome() {
    while (n_submitted_ < jobs_.size() && ArrivalOf(n_submitted_) <= engine_.now()) {
      const size_t id = n_submitted_++;
      const Job& job = jobs_[id];
      outputs_[id].prompt_ids = job.generation.prompt_ids;
      lateness_.push_back(engine_.now() - ArrivalOf(id));
      recorder_.Arrived({.id = id,
                         .user = job.user,
                         .priority = job.priority,
                         .n_prompt = job.n_prompt(),
                         .max_new_tokens = job.generation.max_new_tokens},
                        ArrivalOf(id));
      engine_.Submit({.id = id,
                      .user = job.user,
                      .priority = job.priority,
                      .generation = job.generation,
                      .tokenizer = job.tokenizer,
                      .on_token = [this, id](TokenId) { Token(id); },
                      .on_text = [](std::string_view) {},
                      .on_done = [this, id](Outcome outcome) { Done(id, std::move(outcome)); }});
    }
  }

  // Until the next one comes, but not for so long that Ctrl-C seems lost.
  void Sleep() const {
    constexpr double kLongest = 0.05;
    const double seconds = std::min(ArrivalOf(n_submitted_) - engine_.now(), kLongest);
    std::this_thread::sleep_for(std::chrono::duration<double>(std::max(seconds, 0.0)));
  }

  void Step() {
    StepLine line = {.begin = engine_.now()};
    engine_.Step();
    line.end = engine_.now();
    line.n_rows = engine_.last_step().n_rows;
    line.n_seqs = engine_.last_step().n_seqs;
    line.pages_used = engine_.memory().n_pages() - engine_.memory().n_free();
    engine_.scheduler().ForEach([&](const Sequence& s) { n_keys_ += s.n_computed; });
    if (line.n_rows == 0) return;
    last_ = line;
    recorder_.Step(line);
  }

  void Token(size_t id) {
    ++n_tokens_;
    recorder_.Token(id, engine_.now());
  }

  void Done(size_t id, Outcome outcome) {
    ++n_done_;
    if (outcome.failure) failure_ = outcome.failure;
    Generation& generation = outputs_[id].generation = std::move(outcome.generation);
    if (generation.tokens.empty()) return;
    // From when it came, not from when it could be submitted.
    generation.first_token_seconds += lateness_[id];
    generation.token_seconds.front() += lateness_[id];
  }

  TopFrame Frame() const {
    const KvCache& cache = engine_.cache();
    const SwapSpace& swap = engine_.memory().swap();
    const double now = engine_.now();
    TopFrame frame = {.mode = mode_.name,
                      .time = now - start_,
                      .n_pages = cache.n_pages(),
                      .n_used = cache.n_pages() - cache.n_free() - cache.n_evictable(),
                      .n_evictable = cache.n_evictable(),
                      .n_free = cache.n_free(),
                      .n_swapped = swap.n_pages() - swap.n_free(),
                      .n_rows = last_.n_rows,
                      .n_seqs = last_.n_seqs,
                      .max_seqs = engine_.scheduler().options().max_seqs,
                      .tokens_per_second = static_cast<double>(n_tokens_) / (now - start_)};
    for (PageId page = 0; page < cache.n_pages(); ++page) {
      // The prefix cache's own reference is none of a sequence's.
      if (cache.n_references(page) - (cache.IsKnown(page) ? 1 : 0) > 1) ++frame.n_shared;
    }
    engine_.scheduler().ForEach([&](const Sequence& s) {
      const PageTable* table = engine_.memory().Find(s.request.id);
      const bool is_waiting =
          s.state == SequenceState::kWaiting || s.state == SequenceState::kPreempted;
      frame.processes.push_back(
          {.id = s.request.id,
           .user = s.request.user,
           .priority = s.request.priority,
           .state = s.state,
           .n_computed = s.n_computed,
           .n_sampled = s.n_sampled,
           .n_pages = table == nullptr ? 0 : static_cast<int64_t>(table->pages().size()),
           .age = now - s.arrival,
           .waiting = is_waiting ? now - s.waiting_since : 0});
    });
    return frame;
  }

  const Mode& mode_;
  const std::vector<Job>& jobs_;
  Engine& engine_;
  Top* top_;
  double start_;
  Recorder recorder_;
  std::vector<Output> outputs_;
  std::vector<double> lateness_ = {};  // seconds from arrival to Submit
  size_t n_submitted_ = 0;
  size_t n_done_ = 0;
  int64_t n_tokens_ = 0;
  int64_t n_keys_ = 0;  // that the steps' sequences had, added up
  StepLine last_;
  std::exception_ptr failure_;
};

}  // namespace

std::vector<Mode> MakeModes(const Flags& flags, const std::vector<Job>& jobs, bool on_gpu) {
  EngineOptions options = {.kv = flags.kv,
                           .scheduler = {.policy = flags.policy,
                                         .preemption = flags.preemption,
                                         .patience = flags.patience},
                           .swap_bytes = flags.swap_memory,
                           .overlap = flags.overlap};
  SchedulerOptions& scheduler = options.scheduler;
  scheduler.max_waiting = std::max<int64_t>(1, static_cast<int64_t>(jobs.size()));
  // Whole prompts: a step has room for the longest.
  constexpr int64_t kRows = 2048;
  scheduler.chunked_prefill = false;
  scheduler.max_step_tokens = std::max({kRows, LongestJob(jobs), flags.max_seqs});
  scheduler.max_seqs = 1;
  std::vector<Mode> modes = {{.name = "one at a time", .options = options}};

  scheduler.max_seqs = flags.max_seqs;
  scheduler.static_batches = true;
  modes.push_back({.name = "static batches", .options = options});

  scheduler.static_batches = false;
  modes.push_back({.name = "continuous", .options = options});

  scheduler.chunked_prefill = true;
  scheduler.prefill_chunk = flags.ChunkOn(on_gpu);
  scheduler.max_step_tokens = flags.max_seqs + scheduler.prefill_chunk;
  Plant(flags.fault, options);
  modes.push_back({.name = "continuous, chunked", .options = options});
  return modes;
}

void WarmUp(const Mode& mode, const Job& job, Engine& engine) {
  const int64_t n = mode.options.scheduler.max_seqs;
  for (int64_t id = 0; id < n; ++id) {
    GenerationRequest request = {.prompt_ids = job.generation.prompt_ids,
                                 .max_new_tokens = 2 + static_cast<int>(id),
                                 .max_context = job.generation.max_context};
    std::ranges::reverse(request.prompt_ids);
    request.prompt_ids.resize(std::min<size_t>(request.prompt_ids.size(), 16));
    request.prompt_ids.front() = static_cast<TokenId>(id);
    engine.Submit({.id = static_cast<SequenceId>(id), .generation = std::move(request)});
  }
  while (engine.Step()) {
  }
}

ModeRun RunMode(const Mode& mode, double patience, const std::vector<Job>& jobs, Engine& engine,
                Top* top) {
  return Runner(mode, patience, jobs, engine, top).Run();
}

}  // namespace aios::lessons
