// Model: a config and its weights, and whatever owns their memory.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "common/loader/checkpoint.h"
#include "common/model/config.h"
#include "common/model/weights.h"
#include "common/tensor/buffer.h"

namespace aios {

// Immutable, so thread-safe. Move-only; the weights stay where they are when it moves.
class Model {
 public:
  // From a GGUF file or a Hugging Face directory: mapped, checked, not read. Throws InputError.
  static Model Load(const std::filesystem::path& path);

  // A model of a real shape with random bf16 weights (the same for the same name), for measuring
  // without a download: "llama-8b" and so on. Throws InputError if there is no such shape or not
  // enough memory.
  // `more_bytes_per_param`: memory that the caller will need besides, for a model in another form.
  static Model Random(std::string_view shape_name, int64_t more_bytes_per_param = 0);
  static std::vector<std::string_view> RandomShapeNames();

  const ModelConfig& config() const { return config_; }
  const Weights& weights() const { return weights_; }
  // The number of weights, a tied matrix counted once.
  int64_t n_params() const;
  // Their bytes as they are stored.
  int64_t n_bytes() const;
  // nullptr for a random model.
  const Checkpoint* checkpoint() const { return checkpoint_.get(); }

 private:
  Model() = default;

  std::unique_ptr<Checkpoint> checkpoint_;
  HostBuffer storage_;  // of random weights
  ModelConfig config_;
  Weights weights_;
};

}  // namespace aios
