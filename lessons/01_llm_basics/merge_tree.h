// The merges of one word as a tree: bytes at the leaves, tokens at the roots, each merge a node
// with its rank. Drawn for the terminal and as SVG.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <vector>

#include "common/text/bpe.h"

namespace aios {

class MergeTree {
 public:
  struct Node {
    std::string letters;  // the token, in the byte-level alphabet
    TokenId id = 0;
    std::optional<uint32_t> rank;  // of the merge that made it; none for a byte
    int left = -1;                 // node numbers; -1: a leaf
    int right = -1;
  };

  // From BpeTokenizer::Trace.
  MergeTree(const Tokenizer& tokenizer, const WordTrace& word);

  const std::vector<Node>& nodes() const { return nodes_; }
  const std::vector<int>& roots() const { return roots_; }  // the word's tokens, left to right

  // Lines with box-drawing characters; each begins with `indent`.
  std::string Text(const std::string& indent) const;

 private:
  void AppendText(int node, const std::string& first, const std::string& rest,
                  std::string& out) const;

  std::vector<Node> nodes_;
  std::vector<int> roots_;
};

// One picture of several words' trees, side by side.
std::string MergeTreesSvg(std::span<const MergeTree> trees);

// `text` for the inside of an XML element or attribute.
std::string XmlEscaped(const std::string& text);

}  // namespace aios
