// A fast hash for the tables of the tokenizers. Seeded at random in each process, so that no file
// can be made whose keys all collide.
#pragma once

#include <cstdint>
#include <cstring>
#include <string_view>

namespace aios {

// The same in the whole process.
uint64_t HashSeed();

// Multiplies into 128 bits and folds: every bit of the result depends on every bit of both.
inline uint64_t MixHash(uint64_t a, uint64_t b) {
  const auto product = static_cast<unsigned __int128>(a) * b;
  return static_cast<uint64_t>(product) ^ static_cast<uint64_t>(product >> 64);
}

inline constexpr uint64_t kHashMultiplier = 0x9E3779B97F4A7C15;  // 2^64 / golden ratio

inline uint64_t HashBytes(std::string_view bytes, uint64_t seed) {
  uint64_t hash = seed ^ bytes.size();
  while (bytes.size() >= 8) {
    uint64_t word;
    std::memcpy(&word, bytes.data(), 8);
    hash = MixHash(hash ^ word, kHashMultiplier);
    bytes.remove_prefix(8);
  }
  uint64_t word = 0;
  if (!bytes.empty()) std::memcpy(&word, bytes.data(), bytes.size());
  return MixHash(hash ^ word, kHashMultiplier);
}

}  // namespace aios
