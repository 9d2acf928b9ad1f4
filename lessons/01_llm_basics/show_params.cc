// Parameters: what each component has, by the config's dimensions, against what the file holds.
#include "common/profile/roofline.h"
#include "lessons/01_llm_basics/show.h"

namespace aios {

void ShowParams(Subject& subject, Notebook& notebook) {
  const Model& model = subject.model();
  const ModelConfig& config = subject.config();
  notebook.Title("Parameters: where the numbers are");

  const ModelSize by_config = SizeOf(config, DType::kF32);  // looks at no tensor
  const ModelSize in_file = SizeOf(config, model.weights());
  const auto total = static_cast<double>(by_config.n_params());
  notebook.Print("           component     parameters   share  bits each  by the config\n");
  bool same = true;
  Json& figures = notebook.Figures("params");
  for (int i = 0; i < kNumComponents; ++i) {
    const auto component = static_cast<Component>(i);
    const auto [n_params, n_bytes] = in_file[component];
    same = same && by_config[component].n_params == n_params;
    figures[std::string(Name(component))] = {
        {"by_config", by_config[component].n_params}, {"in_file", n_params}, {"bytes", n_bytes}};
    notebook.Print("           {:12}  {:10}  {:5.1f}%  {:>9}  {}\n", Name(component), n_params,
                   100 * static_cast<double>(n_params) / total,
                   n_params == 0 ? "-"
                                 : fmt::format("{:.2f}", 8 * static_cast<double>(n_bytes) /
                                                             static_cast<double>(n_params)),
                   Arithmetic(component, config));
  }
  notebook.Print("           {:12}  {:10}         {:9.2f}\n", "all", in_file.n_params(),
                 in_file.bits_per_param());

  // The file itself is asked, not our table of weights: all of its tensors, but for those that
  // repeat what is elsewhere (RoPE's frequencies, which follow from the config; a tied matrix).
  int64_t stored = 0;
  for (const std::string_view tensor : model.checkpoint()->names()) {
    const bool repeats = tensor == "rope_freqs.weight" || tensor.ends_with("inv_freq") ||
                         (config.tied_embeddings && tensor == "lm_head.weight");
    if (!repeats) stored += model.checkpoint()->Find(tensor)->n_elements();
  }
  notebook.AddCheck("parameters: each component has in the file what the config says", same,
                    fmt::format("{} components", kNumComponents));
  notebook.AddCheck("parameters: the config accounts for every number in the file",
                    by_config.n_params() == stored,
                    fmt::format("{} and {}", by_config.n_params(), stored));
}

}  // namespace aios
