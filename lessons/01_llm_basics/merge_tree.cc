#include "lessons/01_llm_basics/merge_tree.h"

#include <fmt/format.h>

#include <algorithm>

#include "common/text/byte_level.h"

namespace aios {

MergeTree::MergeTree(const Tokenizer& tokenizer, const WordTrace& word) {
  const auto add = [&](TokenId id) -> Node& {
    return nodes_.emplace_back(
        Node{.letters = ToByteLevel(tokenizer.TokenBytes(id)), .id = id, .rank = std::nullopt});
  };
  for (const TokenId id : word.looked_up ? word.ids : word.bytes) {
    roots_.push_back(static_cast<int>(nodes_.size()));
    add(id);
  }
  for (const MergeStep& step : word.merges) {
    const int merged = static_cast<int>(nodes_.size());
    Node& node = add(step.result);
    node.rank = step.rank;
    node.left = roots_[step.at];
    node.right = roots_[step.at + 1];
    roots_[step.at] = merged;
    roots_.erase(roots_.begin() + static_cast<std::ptrdiff_t>(step.at) + 1);
  }
}

std::string MergeTree::Text(const std::string& indent) const {
  std::string out;
  for (const int root : roots_) AppendText(root, indent, indent, out);
  return out;
}

// `first` stands before the node's own line, `rest` before those below it.
void MergeTree::AppendText(int node, const std::string& first, const std::string& rest,
                           std::string& out) const {
  const Node& at = nodes_[node];
  const bool root = std::find(roots_.begin(), roots_.end(), node) != roots_.end();
  out += first + at.letters;
  if (at.rank) out += fmt::format("  rank {}", *at.rank);
  if (root) out += fmt::format("  id {}", at.id);
  out += '\n';
  if (at.left < 0) return;
  AppendText(at.left, rest + "├─ ", rest + "│  ", out);
  AppendText(at.right, rest + "└─ ", rest + "   ", out);
}

namespace {

constexpr double kLeafWidth = 40;
constexpr double kLevelHeight = 54;
constexpr double kBoxHeight = 24;
constexpr double kWordGap = 24;

struct Box {
  double x;  // of the middle
  double y;  // of the top
};

// Places a tree's nodes: leaves side by side from `x` on, each merge over the middle of its two,
// one level above the higher of them.
class Layout {
 public:
  Layout(const MergeTree& tree, double x) : tree_(&tree), x_(x), boxes_(tree.nodes().size()) {
    for (const int root : tree.roots()) height_ = std::max(height_, Place(root));
  }
  int height() const { return height_; }  // levels of merges
  double right() const { return x_; }

  void Draw(double bottom, std::string& svg) const {
    const auto y_of = [&](int node) { return bottom - boxes_[node].y * kLevelHeight; };
    for (size_t i = 0; i < boxes_.size(); ++i) {
      const MergeTree::Node& node = tree_->nodes()[i];
      for (const int child : {node.left, node.right}) {
        if (child < 0) continue;
        svg += fmt::format(
            "<line x1=\"{:.1f}\" y1=\"{:.1f}\" x2=\"{:.1f}\" y2=\"{:.1f}\" stroke=\"#8a94a3\"/>\n",
            boxes_[i].x, y_of(static_cast<int>(i)) + kBoxHeight, boxes_[child].x, y_of(child));
      }
    }
    for (size_t i = 0; i < boxes_.size(); ++i) {
      const MergeTree::Node& node = tree_->nodes()[i];
      const auto& roots = tree_->roots();
      const bool root = std::find(roots.begin(), roots.end(), static_cast<int>(i)) != roots.end();
      const double y = y_of(static_cast<int>(i));
      const double width = std::max(28.0, 9.0 * static_cast<double>(node.letters.size()) + 10);
      svg += fmt::format(
          "<rect x=\"{:.1f}\" y=\"{:.1f}\" width=\"{:.1f}\" height=\"{}\" rx=\"4\" fill=\"{}\" "
          "stroke=\"{}\"/>\n<text x=\"{:.1f}\" y=\"{:.1f}\" class=\"token\">{}</text>\n",
          boxes_[i].x - width / 2, y, width, kBoxHeight,
          root        ? "#dff3e8"
          : node.rank ? "#e6effb"
                      : "#ffffff",
          root ? "#1d8a57" : "#2f6fc4", boxes_[i].x, y + 17, XmlEscaped(node.letters));
      std::string note = node.rank ? fmt::format("rank {}", *node.rank) : "";
      if (root) note += fmt::format("{}id {}", note.empty() ? "" : ", ", node.id);
      svg += fmt::format("<text x=\"{:.1f}\" y=\"{:.1f}\" class=\"note\">{}</text>\n", boxes_[i].x,
                         y - 4, note);
    }
  }

 private:
  // Returns the node's level: 0 for a leaf. Box::y holds it until the picture's height is known.
  int Place(int node) {
    const MergeTree::Node& at = tree_->nodes()[node];
    if (at.left < 0) {
      boxes_[node] = {.x = x_ + kLeafWidth / 2, .y = 0};
      x_ += kLeafWidth;
      return 0;
    }
    const int left = Place(at.left);  // first, since it takes its leaves' room first
    const int right = Place(at.right);
    const int level = 1 + std::max(left, right);
    boxes_[node] = {.x = (boxes_[at.left].x + boxes_[at.right].x) / 2,
                    .y = static_cast<double>(level)};
    return level;
  }

  const MergeTree* tree_;
  double x_;
  std::vector<Box> boxes_;
  int height_ = 0;
};

}  // namespace

std::string MergeTreesSvg(std::span<const MergeTree> trees) {
  std::vector<Layout> layouts;
  double x = kWordGap;
  int height = 0;
  for (const MergeTree& tree : trees) {
    layouts.emplace_back(tree, x);
    x = std::max(layouts.back().right(), x + 2 * kLeafWidth) + kWordGap;
    height = std::max(height, layouts.back().height());
  }
  const double bottom = 40 + height * kLevelHeight;
  std::string svg = fmt::format(
      "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {0:.0f} {1:.0f}\" width=\"{0:.0f}\" "
      "height=\"{1:.0f}\">\n<style>text {{ font-family: sans-serif; text-anchor: middle; fill: "
      "#1c2733 }} .token {{ font-size: 14px }} .note {{ font-size: 10px; fill: #5b6673 }}</style>\n"
      "<title>Merge trees</title>\n<rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>\n",
      x, bottom + kBoxHeight + 20);
  for (const Layout& layout : layouts) layout.Draw(bottom, svg);
  return svg + "</svg>\n";
}

std::string XmlEscaped(const std::string& text) {
  std::string out;
  for (const char c : text) {
    switch (c) {
      case '&':
        out += "&amp;";
        break;
      case '<':
        out += "&lt;";
        break;
      case '>':
        out += "&gt;";
        break;
      case '"':
        out += "&quot;";
        break;
      default:
        out += c;
    }
  }
  return out;
}

}  // namespace aios
