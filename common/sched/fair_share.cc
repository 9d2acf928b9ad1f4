#include "common/sched/fair_share.h"

#include <algorithm>

#include "common/base/check.h"

namespace aios {

void FairShare::Push(Sequence& sequence) {
  Users::value_type& user = *Enter(sequence.request.user);
  Unlist(user);
  user.second.waiting.emplace(sequence.order, &sequence);
  List(user);
}

void FairShare::Remove(const Sequence& sequence) {
  const auto user = users_.find(sequence.request.user);
  AIOS_CHECK(user != users_.end(), "user '{}' waits for nothing", sequence.request.user);
  Unlist(*user);
  AIOS_CHECK(user->second.waiting.erase(sequence.order) == 1, "sequence {} does not wait",
             sequence.request.id);
  List(*user);
  Forget();
}

Sequence* FairShare::First() const { return turns_.empty() ? nullptr : turns_.begin()->second; }

void FairShare::Serve(const std::string& name, int64_t n_tokens) {
  if (turns_.empty()) return;
  Users::value_type& user = *Enter(name);
  Unlist(user);
  user.second.n_served += n_tokens;
  List(user);
  Forget();
}

FairShare::Users::iterator FairShare::Enter(const std::string& name) {
  const auto [user, is_new] = users_.try_emplace(name);
  if (is_new) user->second.n_served = level_;
  return user;
}

void FairShare::Unlist(Users::value_type& user) {
  const auto& [n_served, waiting] = user.second;
  if (waiting.empty()) {
    away_.erase({n_served, user.first});
  } else {
    turns_.erase({n_served, waiting.begin()->first});
  }
}

void FairShare::List(Users::value_type& user) {
  const auto& [n_served, waiting] = user.second;
  if (waiting.empty()) {
    away_.emplace(n_served, user.first);
  } else {
    turns_.emplace(std::pair(n_served, waiting.begin()->first), waiting.begin()->second);
  }
}

void FairShare::Forget() {
  if (turns_.empty()) {
    users_.clear();
    away_.clear();
    return;
  }
  level_ = std::max(level_, turns_.begin()->first.first);
  while (!away_.empty() && away_.begin()->first <= level_) {
    users_.erase(away_.begin()->second);
    away_.erase(away_.begin());
  }
}

}  // namespace aios
