// Where the parts of this lesson write: lines for people, figures for --json, and checks.
#pragma once

#include <fmt/format.h>

#include <cstdio>
#include <string>
#include <utility>

#include "common/base/json.h"

namespace aios {

class Notebook {
 public:
  // `json_path`: where the figures go in the end; empty: nowhere; "-": to standard output, and what
  // is for people to standard error. `in_full`: whether a part was asked for by name and shows all
  // that it has, or is one page of the guided tour. Throws InputError if it cannot write there.
  Notebook(std::string json_path, bool in_full);

  bool in_full() const { return in_full_; }
  std::FILE* out() const { return out_; }

  template <typename... Args>
  void Print(fmt::format_string<Args...> format, Args&&... args) const {
    fmt::print(out_, format, std::forward<Args>(args)...);
  }

  // A line over each part, numbered from 1.
  void Title(const std::string& title);

  // The figures of a part, to be filled in: notebook.Figures("rope")["wavelengths"] = ...
  Json& Figures(const std::string& part) { return report_["shown"][part]; }
  Json& report() { return report_; }

  // A check prints its line at the end, with the others.
  void AddCheck(const std::string& name, bool ok, const std::string& detail);

  // Prints the checks and writes the report. Returns main()'s exit code: 0, or 1 if a check failed.
  int Finish();

 private:
  std::string json_path_;
  bool in_full_;
  std::FILE* out_;
  int n_titles_ = 0;
  Json report_;
};

}  // namespace aios
