#include "lessons/05_batching/figures.h"

#include <fmt/format.h>

#include <cctype>

#include "common/sched/simulation.h"

namespace aios::lessons {
namespace {

constexpr double kPercents[] = {50, 95, 99};

// "continuous, chunked" -> "continuous_chunked"
std::string Key(const std::string& mode) {
  std::string key;
  for (const char c : mode) {
    if (std::isalnum(static_cast<unsigned char>(c)) != 0) {
      key += c;
    } else if (!key.empty() && key.back() != '_') {
      key += '_';
    }
  }
  return key;
}

std::string Milliseconds(const std::vector<double>& seconds) {
  std::string text;
  for (const double percent : kPercents) {
    const double ms = 1e3 * Percentile(seconds, percent);
    text += fmt::format("{:>6.{}f}", ms, ms < 99.95 ? 1 : 0);
  }
  return text;
}

}  // namespace

std::string FiguresHead() {
  return fmt::format(
      "{:<20} {:>8} {:>18} {:>18} {:>11} {:>5} {:>9}\n"
      "{:<20} {:>8} {:>18} {:>18} {:>11} {:>5} {:>9}\n",
      "", "output", "first token, ms", "a token, ms", "of a step", "pages", "preemp-", "mode",
      "tokens/s", "p50   p95   p99", "p50   p95   p99", "rows  seqs", "used", "tions");
}

std::string FiguresLine(const ModeRun& run) {
  const Timeline& t = run.timeline;
  return fmt::format("{:<20} {:>8.1f} {} {} {:>5.1f} {:>5.2f} {:>5} {:>9}\n", t.mode,
                     t.tokens_per_second(), Milliseconds(t.Ttfts()), Milliseconds(t.TokenGaps()),
                     t.MeanRows(), t.MeanSeqs(), t.MaxPages(), t.n_preemptions());
}

std::vector<std::pair<std::string, double>> FiguresOf(const std::vector<ModeRun>& runs) {
  std::vector<std::pair<std::string, double>> figures;
  for (const ModeRun& run : runs) {
    const Timeline& t = run.timeline;
    const std::string key = Key(t.mode);
    const auto add = [&](const std::string& name, double value) {
      figures.emplace_back(fmt::format("{}_{}", key, name), value);
    };
    add("tok_s", t.tokens_per_second());
    const std::vector<double> ttfts = t.Ttfts();
    const std::vector<double> gaps = t.TokenGaps();
    for (const double percent : kPercents) {
      add(fmt::format("ttft_ms_p{:.0f}", percent), 1e3 * Percentile(ttfts, percent));
      add(fmt::format("gap_ms_p{:.0f}", percent), 1e3 * Percentile(gaps, percent));
    }
    add("rows", t.MeanRows());
    add("seqs", t.MeanSeqs());
    add("pages", static_cast<double>(t.MaxPages()));
    add("preemptions", static_cast<double>(t.n_preemptions()));
  }
  return figures;
}

}  // namespace aios::lessons
