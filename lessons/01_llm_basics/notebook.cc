#include "lessons/01_llm_basics/notebook.h"

#include "common/base/write_file.h"

namespace aios {

Notebook::Notebook(std::string json_path, bool in_full)
    : json_path_(std::move(json_path)),
      in_full_(in_full),
      out_(json_path_ == "-" ? stderr : stdout),
      report_({{"schema", 1}, {"lesson", "01_llm_basics"}, {"checks", Json::array()}}) {
  CheckWritable("--json", json_path_);
}

void Notebook::Title(const std::string& title) { Print("\n{}. {}\n", ++n_titles_, title); }

void Notebook::AddCheck(const std::string& name, bool ok, const std::string& detail) {
  report_["checks"].push_back({{"name", name}, {"ok", ok}, {"detail", detail}});
}

int Notebook::Finish() {
  bool all_ok = true;
  if (!report_["checks"].empty()) Print("\n");
  for (const Json& check : report_["checks"]) {
    const bool ok = check["ok"].get<bool>();
    Print("check    {}: {} ({})\n", check["name"].get<std::string>(), ok ? "yes" : "NO",
          check["detail"].get<std::string>());
    all_ok = all_ok && ok;
  }
  std::fflush(out_);
  if (!json_path_.empty()) {
    WriteFile("--json", json_path_, report_.dump(1) + "\n");
  }
  return all_ok ? 0 : 1;
}

}  // namespace aios
