#include "common/engine/engine_thread.h"

#include <utility>

namespace aios {

// ---- AnswerStream -------------------------------------------------------------------------------

std::optional<AnswerStream::Piece> AnswerStream::Next() {
  std::unique_lock lock(mutex_);
  const auto has_piece = [&] { return !piece_.tokens.empty() || !piece_.text.empty(); };
  changed_.wait(lock, [&] { return has_piece() || outcome_.has_value(); });
  if (!has_piece()) return std::nullopt;
  return std::exchange(piece_, {});
}

const Outcome& AnswerStream::Wait() {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [&] { return outcome_.has_value(); });
  piece_ = {};
  return *outcome_;
}

bool AnswerStream::is_done() const {
  const std::lock_guard lock(mutex_);
  return outcome_.has_value();
}

template <typename Change>
void AnswerStream::Update(const Change& change) {
  {
    const std::lock_guard lock(mutex_);
    change();
  }
  changed_.notify_all();
}

// ---- EngineThread -------------------------------------------------------------------------------

EngineThread::EngineThread(Engine& engine)
    : engine_(engine),
      max_open_(engine.scheduler().options().max_waiting),
      thread_([this] { Run(); }) {}

EngineThread::~EngineThread() {
  {
    const std::lock_guard lock(mutex_);
    stop_ = true;
  }
  wake_.notify_one();
  thread_.join();
}

std::shared_ptr<AnswerStream> EngineThread::Submit(EngineRequest request) {
  engine_.CheckRequest(request);
  auto stream = std::make_shared<AnswerStream>();
  {
    const std::lock_guard lock(mutex_);
    if (failure_) std::rethrow_exception(failure_);
    if (static_cast<int64_t>(open_.size()) >= max_open_) {
      throw Refused(Refused::Why::kBusy, "{} requests are not done yet, and more are not taken",
                    open_.size());
    }
    if (!open_.emplace(request.id, stream).second) {
      throw Refused(Refused::Why::kDuplicate, "request {}: one of this number is not done yet",
                    request.id);
    }
    submitted_.push_back(std::move(request));
  }
  wake_.notify_one();
  return stream;
}

bool EngineThread::Cancel(SequenceId id) {
  {
    const std::lock_guard lock(mutex_);
    if (!open_.contains(id)) return false;
    cancelled_.push_back(id);
  }
  wake_.notify_one();
  return true;
}

int64_t EngineThread::n_open() const {
  const std::lock_guard lock(mutex_);
  return static_cast<int64_t>(open_.size());
}

void EngineThread::Run() {
  bool has_work = false;
  while (true) {
    std::vector<EngineRequest> submitted;
    std::vector<SequenceId> cancelled;
    bool stop = false;
    {
      std::unique_lock lock(mutex_);
      wake_.wait(lock,
                 [&] { return has_work || stop_ || !submitted_.empty() || !cancelled_.empty(); });
      submitted = std::exchange(submitted_, {});
      cancelled = std::exchange(cancelled_, {});
      stop = stop_;
      if (stop) {
        for (const auto& [id, stream] : open_) cancelled.push_back(id);
      }
    }
    for (EngineRequest& request : submitted) Start(std::move(request));
    for (const SequenceId id : cancelled) engine_.Cancel(id);
    try {
      has_work = engine_.Step();
    } catch (...) {  // the device has failed: the engine has told all who wait
      const std::lock_guard lock(mutex_);
      failure_ = std::current_exception();
      has_work = false;
    }
    if (stop && !has_work) return;
  }
}

void EngineThread::Start(EngineRequest request) {
  const SequenceId id = request.id;
  std::shared_ptr<AnswerStream> stream;
  {
    const std::lock_guard lock(mutex_);
    stream = open_.at(id);
  }
  request.on_token = [stream, then = std::move(request.on_token)](TokenId token) {
    if (then) then(token);
    stream->Update([&] { stream->piece_.tokens.push_back(token); });
  };
  request.on_text = [stream, then = std::move(request.on_text)](std::string_view text) {
    if (then) then(text);
    stream->Update([&] { stream->piece_.text += text; });
  };
  request.on_done = [this, id, stream, then = std::move(request.on_done)](Outcome outcome) {
    if (then) then(outcome);
    Done(id, *stream, std::move(outcome));
  };
  try {
    engine_.Submit(std::move(request));
  } catch (...) {
    Done(id, *stream,
         {.generation = {.finish_reason = FinishReason::kFailed},
          .failure = std::current_exception()});
  }
}

void EngineThread::Done(SequenceId id, AnswerStream& stream, Outcome outcome) {
  {
    const std::lock_guard lock(mutex_);
    open_.erase(id);
  }
  stream.Update([&] { stream.outcome_ = std::move(outcome); });
}

}  // namespace aios
