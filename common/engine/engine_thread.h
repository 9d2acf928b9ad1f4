// EngineThread: an engine that any thread may ask.
//
// In the operating system of the analogy: system calls. A request crosses into the engine's thread,
// and its answer is read from a stream, as from a pipe.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <exception>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <unordered_map>
#include <vector>

#include "common/engine/engine.h"

namespace aios {

// An answer on its way from the engine's thread to whoever asked. Thread-safe. Who does not read
// holds nobody up: what comes is kept, and an answer is no longer than its max_new_tokens.
class AnswerStream {
 public:
  // What came since the last call.
  struct Piece {
    std::vector<TokenId> tokens = {};
    std::string text = {};
  };

  // Waits until there is more; nothing when the answer is complete.
  std::optional<Piece> Next();
  // Waits until it is complete; what Next has not given is skipped. The same each time.
  const Outcome& Wait();
  bool is_done() const;

 private:
  friend class EngineThread;
  template <typename Change>
  void Update(const Change& change);

  mutable std::mutex mutex_;
  std::condition_variable changed_;
  Piece piece_;
  std::optional<Outcome> outcome_;
};

// Runs an engine's steps on a thread of its own, as long as there is something to do. Thread-safe,
// but for the destructor. The engine must outlive it, and belongs to it alone while it is there.
//
//   EngineThread thread(engine);
//   const auto stream = thread.Submit({.id = 7, .generation = {...}, .tokenizer = tokenizer});
//   while (const auto piece = stream->Next()) Send(piece->text);
class EngineThread {
 public:
  explicit EngineThread(Engine& engine);
  EngineThread(const EngineThread&) = delete;
  EngineThread& operator=(const EngineThread&) = delete;
  // Cancels what is not done.
  ~EngineThread();

  // As Engine::Submit; what the request's own callbacks do holds up the engine's thread. Throws
  // Refused, InputError, or what a failing device threw, after which nothing is taken any more.
  std::shared_ptr<AnswerStream> Submit(EngineRequest request);
  // Asks for the end of a request: its stream says when. False if it is not there (any more).
  bool Cancel(SequenceId id);
  // Requests that are not done.
  int64_t n_open() const;

 private:
  void Run();
  void Start(EngineRequest request);
  void Done(SequenceId id, AnswerStream& stream, Outcome outcome);

  Engine& engine_;
  const int64_t max_open_;

  mutable std::mutex mutex_;
  std::condition_variable wake_;
  // Since the thread last looked:
  std::vector<EngineRequest> submitted_;
  std::vector<SequenceId> cancelled_;
  bool stop_ = false;
  std::unordered_map<SequenceId, std::shared_ptr<AnswerStream>> open_;
  std::exception_ptr failure_;  // of the device

  std::thread thread_;  // last: it uses the rest
};

}  // namespace aios
