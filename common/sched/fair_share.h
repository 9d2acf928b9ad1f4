// FairShare: whose turn it is, if users are to get equal shares.
//
// Each user has a virtual token counter: what the user was served so far, in tokens. The user with
// the smallest is next. Who was away does not save up for it: who comes back is lifted to the level
// of the least served among those who wait. (Sheng et al. 2024, https://arxiv.org/abs/2401.00588)
//
// In the operating system of the analogy: Linux's completely fair scheduler and its vruntime.
#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <utility>

#include "common/sched/sequence.h"

namespace aios {

// Waiting sequences by user. Remembers of users who wait for nothing only those who are ahead of
// the level, and nobody when no one waits: then nobody is in another's way. Every call is O(log n).
// Not thread-safe; the sequences must outlive their stay.
class FairShare {
 public:
  void Push(Sequence& sequence);
  void Remove(const Sequence& sequence);
  // The sequence that came first, of the user who was served least. nullptr if there is none.
  Sequence* First() const;
  // The user is served so many tokens. Before Remove: who waits for nothing may be forgotten.
  void Serve(const std::string& user, int64_t n_tokens);

  int64_t n_users() const { return static_cast<int64_t>(users_.size()); }  // that are remembered

 private:
  struct User {
    int64_t n_served = 0;
    std::map<int64_t, Sequence*> waiting = {};  // by order
  };
  using Users = std::map<std::string, User>;

  // Finds the user, or begins at the level: who is remembered is at the level or ahead of it.
  Users::iterator Enter(const std::string& name);
  // Takes a user out of the order of turns, so that it may change; and puts it back.
  void Unlist(Users::value_type& user);
  void List(Users::value_type& user);
  void Forget();

  Users users_;
  int64_t level_ = 0;  // what the least served of those who waited had; never falls
  // Of those who wait for something: {n_served, order of its first sequence}.
  std::map<std::pair<int64_t, int64_t>, Sequence*> turns_;
  // Of the others: {n_served, name}.
  std::set<std::pair<int64_t, std::string>> away_;
};

}  // namespace aios
