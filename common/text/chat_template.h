// Chat templates: how a conversation becomes one prompt.
//
// A model's files carry the template as a program in Jinja. AIOS does not run it. It recognizes the
// families that it knows by the texts which the program writes, takes from it what varies (the
// default system message, for one), and writes the same itself:
//
//   ChatML   <|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n      SmolLM2, Qwen 2, 2.5, 3
//   Llama 3  <|start_header_id|>user<|end_header_id|>\n\nHi<|eot_id|>...  Llama 3, 3.1, 3.2, 3.3
//
// The special tokens come from the template alone: one that stands in a message stays text, so that
// a user cannot end his turn and speak as the system.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "common/text/tokenizer.h"

namespace aios {

struct ChatMessage {
  std::string role;  // "system", "user" or "assistant"
  std::string content;
};

// Immutable, so thread-safe.
class ChatTemplate {
 public:
  // Nullopt if the template is of no family that is known here, or does more than they do.
  static std::optional<ChatTemplate> Detect(std::string_view jinja);

  // The prompt after which the model answers as the assistant, as ids; with the
  // beginning-of-sequence token if the template has it (do not add another). Throws InputError for
  // a role that is none of the three, a message that is not valid UTF-8, or a tokenizer that lacks
  // the template's special tokens.
  std::vector<TokenId> Encode(const Tokenizer& tokenizer,
                              std::span<const ChatMessage> messages) const;

  // The same as text, for people and logs. Do not encode it: it no longer says which special tokens
  // are the template's own.
  std::string Render(std::span<const ChatMessage> messages) const;

  // The system message of a conversation that brings none, if the template has one.
  const std::optional<std::string>& default_system() const { return default_system_; }

  // The special token that ends an answer.
  std::string_view end_of_turn() const {
    return family_ == Family::kChatMl ? "<|im_end|>" : "<|eot_id|>";
  }

 private:
  enum class Family : uint8_t { kChatMl, kLlama3 };
  // A stretch of the prompt: a special token, or text.
  struct Part {
    bool is_special;
    std::string text;
  };

  ChatTemplate() = default;
  static std::optional<ChatTemplate> DetectChatMl(std::string_view jinja,
                                                  std::span<const std::string> literals);
  static std::optional<ChatTemplate> DetectLlama3(std::string_view jinja,
                                                  std::span<const std::string> literals);
  std::vector<Part> Parts(std::span<const ChatMessage> messages) const;
  std::vector<Part> ChatMlParts(std::span<const ChatMessage> messages) const;
  std::vector<Part> Llama3Parts(std::span<const ChatMessage> messages) const;
  std::string Qwen3Content(std::span<const ChatMessage> messages, size_t i) const;

  Family family_ = Family::kChatMl;
  std::optional<std::string> default_system_;
  std::string answer_begin_;  // ChatML: what the answer is made to begin with: "" or "<think>\n"
  bool shows_last_thought_ = false;  // Qwen 3: earlier answers lose what they thought
  bool writes_bos_ = false;          // Llama 3
  bool trims_ = false;               // Llama 3: white space around a message
  std::string system_header_;        // Llama 3.1: dates, before the system message
};

}  // namespace aios
