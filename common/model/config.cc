#include "common/model/config.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <string_view>

#include "common/base/error.h"

namespace aios {
namespace {

void AddEosId(int64_t id, const std::string& source, ModelConfig& config) {
  if (id < 0 || id >= config.vocab_size) {
    throw InputError("{}: the end-of-sequence token is {}, but the vocabulary has {} tokens",
                     source, id, config.vocab_size);
  }
  config.eos_ids.push_back(static_cast<int32_t>(id));
}

// ---- GGUF: "llama.embedding_length" and so on --------------------------------------------------

class GgufConfigReader {
 public:
  GgufConfigReader(const Checkpoint& checkpoint, const GgufFile& file)
      : checkpoint_(checkpoint),
        file_(file),
        architecture_(RequiredString("general.architecture")) {}

  ModelConfig Read() const {
    if (architecture_ != "llama" && architecture_ != "qwen2" && architecture_ != "qwen3") {
      throw UnsupportedError(
          "{}: the architecture {} is not supported; llama (which includes Mistral), qwen2 and "
          "qwen3 are",
          file_.name(), Quoted(architecture_));
    }
    RejectUnsupported();

    ModelConfig config;
    config.name = file_.String("general.name").value_or(architecture_);
    config.architecture = architecture_;
    config.d_model = Int("embedding_length");
    config.n_layers = Int("block_count");
    config.n_heads = Int("attention.head_count");
    config.n_kv_heads = Int("attention.head_count_kv", config.n_heads);
    config.head_dim =
        Int("attention.key_length", config.n_heads > 0 ? config.d_model / config.n_heads : 0);
    config.d_ff = Int("feed_forward_length");
    config.max_context = Int("context_length");
    config.norm_eps = Float("attention.layer_norm_rms_epsilon");
    config.rope.theta = Float("rope.freq_base", 10000);
    config.rope.pairing =
        architecture_ == "llama" ? RopePairing::kInterleaved : RopePairing::kHalves;
    config.rope.linear_factor = RopeLinearFactor();

    // What GGUF does not say in words, its tensors say.
    const Tensor* embedding = checkpoint_.Find("token_embd.weight");
    config.vocab_size = Int("vocab_size", embedding == nullptr ? 0 : embedding->n_rows());
    config.tied_embeddings = checkpoint_.Find("output.weight") == nullptr;
    config.qkv_bias = architecture_ == "qwen2" || checkpoint_.Find("blk.0.attn_q.bias") != nullptr;
    config.qk_norm = architecture_ == "qwen3";

    for (const char* key : {"tokenizer.ggml.eos_token_id", "tokenizer.ggml.eot_token_id"}) {
      if (const std::optional<int64_t> id = file_.Int(key)) AddEosId(*id, file_.name(), config);
    }
    return config;
  }

 private:
  std::string Key(std::string_view key) const { return fmt::format("{}.{}", architecture_, key); }

  std::string RequiredString(std::string_view key) const {
    const auto value = file_.String(key);
    if (!value.has_value()) throw InputError("{}: {} is missing", file_.name(), Quoted(key));
    return std::string(*value);
  }
  int64_t Int(std::string_view key) const {
    const auto value = file_.Int(Key(key));
    if (!value.has_value()) throw InputError("{}: {} is missing", file_.name(), Quoted(Key(key)));
    return *value;
  }
  int64_t Int(std::string_view key, int64_t otherwise) const {
    return file_.Int(Key(key)).value_or(otherwise);
  }
  double Float(std::string_view key) const {
    const auto value = file_.Float(Key(key));
    if (!value.has_value()) throw InputError("{}: {} is missing", file_.name(), Quoted(Key(key)));
    return *value;
  }
  double Float(std::string_view key, double otherwise) const {
    return file_.Float(Key(key)).value_or(otherwise);
  }

  double RopeLinearFactor() const {
    const std::string_view type = file_.String(Key("rope.scaling.type")).value_or("none");
    if (type == "none") return 1;
    if (type == "linear") return Float("rope.scaling.factor");
    throw UnsupportedError("{}: RoPE scaling {} is not supported; none, linear and Llama 3's are",
                           file_.name(), Quoted(type));
  }

  void RejectUnsupported() const {
    if (Int("expert_count", 0) > 0) {
      throw UnsupportedError("{}: mixture of experts is not supported", file_.name());
    }
    const int64_t head_dim = Int("attention.key_length", 0);
    if (Int("attention.value_length", head_dim) != head_dim && head_dim != 0) {
      throw UnsupportedError("{}: value heads of another width than key heads are not supported",
                             file_.name());
    }
    const int64_t rotated = Int("rope.dimension_count", 0);
    const int64_t n_heads = Int("attention.head_count");
    const int64_t width =
        head_dim != 0 || n_heads <= 0 ? head_dim : Int("embedding_length") / n_heads;
    if (rotated != 0 && rotated != width) {
      throw UnsupportedError("{}: RoPE on {} of a head's {} numbers is not supported", file_.name(),
                             rotated, width);
    }
  }

  const Checkpoint& checkpoint_;
  const GgufFile& file_;
  std::string architecture_;
};

// ---- Hugging Face: config.json -----------------------------------------------------------------

// Older files have "rope_theta" and "rope_scaling" at the top; newer ones "rope_parameters", which
// holds both.
RopeConfig ReadRope(const JsonObject& json) {
  RopeConfig rope;
  rope.theta = json.Float("rope_theta", rope.theta);
  const char* key = json.Find("rope_parameters") != nullptr ? "rope_parameters" : "rope_scaling";
  if (json.Find(key) == nullptr) return rope;

  const JsonObject parameters = json.Object(key);
  rope.theta = parameters.Float("rope_theta", rope.theta);
  const std::string type = parameters.String("rope_type", parameters.String("type", "default"));
  if (type == "linear") {
    rope.linear_factor = parameters.Float("factor");
  } else if (type == "llama3") {
    rope.llama3 = Llama3RopeScaling{
        .factor = parameters.Float("factor"),
        .low_freq_factor = parameters.Float("low_freq_factor"),
        .high_freq_factor = parameters.Float("high_freq_factor"),
        .original_context = static_cast<double>(parameters.Int("original_max_position_embeddings")),
    };
  } else if (type != "default") {
    throw UnsupportedError("{}: RoPE scaling {} is not supported; default, linear and llama3 are",
                           parameters.source(), Quoted(type));
  }
  if (parameters.Float("partial_rotary_factor", 1) != 1) {
    throw UnsupportedError("{}: 'partial_rotary_factor' is not supported", parameters.source());
  }
  return rope;
}

void RejectUnsupported(const JsonObject& json) {
  const std::string activation = json.String("hidden_act", "silu");
  if (activation != "silu") {
    throw UnsupportedError("{}: the activation {} is not supported; silu is", json.source(),
                           Quoted(activation));
  }
  for (const char* feature : {"attention_bias", "mlp_bias"}) {
    if (json.Bool(feature, false)) {
      throw UnsupportedError("{}: {} is not supported", json.source(), Quoted(feature));
    }
  }
  if (json.Find("quantization_config") != nullptr) {
    throw UnsupportedError(
        "{}: 'quantization_config' is not supported: safetensors hold F32, F16 or BF16 here",
        json.source());
  }
  if (json.Float("partial_rotary_factor", 1) != 1) {
    throw UnsupportedError("{}: 'partial_rotary_factor' is not supported", json.source());
  }
}

// Attention to the last W tokens only is the same as attention to all of them while there are no
// more than W. That is as far as we go: the context ends where the window would begin to matter.
int64_t MaxContext(const JsonObject& json) {
  const int64_t context = json.Int("max_position_embeddings");
  // Mistral uses the window if it has one; Qwen only if it says so.
  const bool used = json.Bool("use_sliding_window", json.String("model_type") == "mistral");
  if (!used || json.Find("sliding_window") == nullptr) return context;
  return std::min(context, json.Int("sliding_window"));
}

// "eos_token_id": an id or a list of ids.
void ReadEosIds(const JsonObject& json, ModelConfig& config) {
  const Json* value = json.Find("eos_token_id");
  if (value == nullptr) return;
  config.eos_ids.clear();
  for (const Json& id : value->is_array() ? *value : Json::array({*value})) {
    const Json wrapped = {{"eos_token_id", id}};
    AddEosId(JsonObject(wrapped, json.source()).Int("eos_token_id"), json.source(), config);
  }
}

ModelConfig ReadHuggingFace(const Checkpoint& checkpoint) {
  const JsonObject json(checkpoint.config(), (checkpoint.path() / "config.json").string());
  const std::string type = json.String("model_type");
  if (type != "llama" && type != "mistral" && type != "qwen2" && type != "qwen3") {
    throw UnsupportedError(
        "{}: the model type {} is not supported; llama, mistral, qwen2 and qwen3 are",
        json.source(), Quoted(type));
  }
  RejectUnsupported(json);

  ModelConfig config;
  config.architecture = type;
  config.name = checkpoint.path().filename().string();
  if (config.name.empty()) config.name = checkpoint.path().parent_path().filename().string();
  config.d_model = json.Int("hidden_size");
  config.n_layers = json.Int("num_hidden_layers");
  config.n_heads = json.Int("num_attention_heads");
  config.n_kv_heads = json.Int("num_key_value_heads", config.n_heads);
  config.head_dim = json.Int("head_dim", config.n_heads > 0 ? config.d_model / config.n_heads : 0);
  config.d_ff = json.Int("intermediate_size");
  config.vocab_size = json.Int("vocab_size");
  config.max_context = MaxContext(json);
  config.norm_eps = json.Float("rms_norm_eps");
  config.rope = ReadRope(json);
  config.tied_embeddings = json.Bool("tie_word_embeddings", false);
  config.qkv_bias = type == "qwen2";
  config.qk_norm = type == "qwen3";

  // generation_config.json, where there is one, knows all end tokens of an instruct model;
  // config.json often only one.
  ReadEosIds(json, config);
  if (const std::optional<Json> generation = checkpoint.ReadJson("generation_config.json")) {
    ReadEosIds({*generation, (checkpoint.path() / "generation_config.json").string()}, config);
  }
  return config;
}

}  // namespace

void CheckModelConfig(const ModelConfig& config, const std::string& source) {
  struct Bound {
    const char* what;
    int64_t value;
    int64_t max;
  };
  // Ten times the largest models there are, and small enough that the product of a matrix's two
  // sides does not overflow.
  const std::array<Bound, 8> bounds = {{{"width", config.d_model, 1 << 20},
                                        {"number of layers", config.n_layers, 1 << 12},
                                        {"number of heads", config.n_heads, 1 << 14},
                                        {"number of key-value heads", config.n_kv_heads, 1 << 14},
                                        {"head width", config.head_dim, 1 << 14},
                                        {"feed-forward width", config.d_ff, 1 << 22},
                                        {"vocabulary", config.vocab_size, 1 << 24},
                                        {"context", config.max_context, int64_t{1} << 31}}};
  for (const Bound& bound : bounds) {
    if (bound.value < 1 || bound.value > bound.max) {
      throw InputError("{}: the model's {} is {}, not between 1 and {}", source, bound.what,
                       bound.value, bound.max);
    }
  }
  // Nor does the sum over all matrices, in bytes of f32: 2^56 parameters are 2^58.
  constexpr double kMaxParams = 0x1p56;
  const double n_params =
      static_cast<double>(config.n_layers) * static_cast<double>(config.d_model) *
          static_cast<double>(2 * config.q_dim() + 2 * config.kv_dim() + 3 * config.d_ff) +
      2.0 * static_cast<double>(config.vocab_size) * static_cast<double>(config.d_model);
  if (n_params > kMaxParams) {
    throw InputError(
        "{}: a model of {:.1e} parameters; more than {:.1e} cannot be counted, let alone run",
        source, n_params, kMaxParams);
  }
  if (config.n_heads % config.n_kv_heads != 0) {
    throw InputError("{}: {} query heads cannot share {} key-value heads evenly", source,
                     config.n_heads, config.n_kv_heads);
  }
  if (config.head_dim % 2 != 0) {
    throw InputError("{}: the head width is {}, but RoPE turns pairs", source, config.head_dim);
  }
  const auto positive = [](double x) { return std::isfinite(x) && x > 0; };
  if (!positive(config.norm_eps) || config.norm_eps >= 1) {
    throw InputError("{}: the epsilon of RMSNorm is {}, not between 0 and 1", source,
                     config.norm_eps);
  }
  if (!positive(config.rope.theta) || !positive(config.rope.linear_factor)) {
    throw InputError("{}: RoPE's theta ({}) and scaling factor ({}) must be positive", source,
                     config.rope.theta, config.rope.linear_factor);
  }
  if (const auto& scaling = config.rope.llama3) {
    if (!positive(scaling->factor) || !positive(scaling->low_freq_factor) ||
        !positive(scaling->original_context) || !std::isfinite(scaling->high_freq_factor) ||
        scaling->high_freq_factor <= scaling->low_freq_factor) {
      throw InputError(
          "{}: RoPE scaling 'llama3' needs positive numbers and low_freq_factor < high_freq_factor",
          source);
    }
  }
}

ModelConfig ReadModelConfig(const Checkpoint& checkpoint) {
  ModelConfig config = checkpoint.gguf() != nullptr
                           ? GgufConfigReader(checkpoint, *checkpoint.gguf()).Read()
                           : ReadHuggingFace(checkpoint);
  CheckModelConfig(config, checkpoint.path().string());
  return config;
}

}  // namespace aios
