#include "common/text/chat_template.h"

#include <algorithm>

#include "common/base/error.h"
#include "common/text/jinja_literals.h"

namespace aios {
namespace {

constexpr std::string_view kImStart = "<|im_start|>";
constexpr std::string_view kImEnd = "<|im_end|>";
constexpr std::string_view kBeginOfText = "<|begin_of_text|>";
constexpr std::string_view kStartHeader = "<|start_header_id|>";
constexpr std::string_view kEndHeader = "<|end_header_id|>";
constexpr std::string_view kEndOfTurn = "<|eot_id|>";
constexpr std::string_view kThinkEnd = "</think>";

bool Contains(std::string_view text, std::string_view part) {
  return text.find(part) != std::string_view::npos;
}

bool HasLiteral(std::span<const std::string> literals, std::string_view literal) {
  return std::find(literals.begin(), literals.end(), literal) != literals.end();
}

std::string_view TrimNewlinesLeft(std::string_view text) {
  return text.substr(std::min(text.find_first_not_of('\n'), text.size()));
}

std::string_view TrimNewlines(std::string_view text) {
  text = TrimNewlinesLeft(text);
  return text.substr(0, text.find_last_not_of('\n') + 1);
}

// Jinja's trim is Python's strip: Unicode white space, and the four separators U+001C to U+001F.
std::string_view Trim(std::string_view text) {
  constexpr std::string_view kSpaces[] = {
      " ",      "\t",     "\n",     "\v",     "\f",     "\r",     "\x1C",   "\x1D",
      "\x1E",   "\x1F",   "\u0085", "\u00A0", "\u1680", "\u2000", "\u2001", "\u2002",
      "\u2003", "\u2004", "\u2005", "\u2006", "\u2007", "\u2008", "\u2009", "\u200A",
      "\u2028", "\u2029", "\u202F", "\u205F", "\u3000"};
  const auto trim_once = [&] {
    for (const std::string_view space : kSpaces) {
      if (text.starts_with(space)) return text.remove_prefix(space.size()), true;
      if (text.ends_with(space)) return text.remove_suffix(space.size()), true;
    }
    return false;
  };
  while (trim_once()) {
  }
  return text;
}

}  // namespace

std::optional<ChatTemplate> ChatTemplate::Detect(std::string_view jinja) {
  const std::optional<std::vector<std::string>> literals = JinjaLiterals(jinja);
  if (!literals) return std::nullopt;
  const auto with = [&](std::string_view token) {
    return std::any_of(literals->begin(), literals->end(),
                       [&](const std::string& literal) { return Contains(literal, token); });
  };
  if (with(kImStart) && with(kImEnd)) return DetectChatMl(jinja, *literals);
  if (with(kStartHeader) && with(kEndOfTurn)) return DetectLlama3(jinja, *literals);
  return std::nullopt;
}

// Every literal that begins a turn must be one of those that the family has; a further one means
// that the template writes something of its own.
std::optional<ChatTemplate> ChatTemplate::DetectChatMl(std::string_view jinja,
                                                       std::span<const std::string> literals) {
  // What would change the messages, and is not done here.
  for (const std::string_view word : {"bos_token", "strftime_now", "trim", "reasoning_mode"}) {
    if (Contains(jinja, word)) return std::nullopt;
  }
  constexpr std::string_view kSystem = "<|im_start|>system\n";
  constexpr std::string_view kAnswer = "<|im_start|>assistant\n";
  ChatTemplate result;
  bool has_answer = false;
  for (const std::string_view literal : literals) {
    if (!Contains(literal, kImStart)) continue;
    if (literal == kImStart || literal == kSystem || literal == "<|im_start|>user" ||
        literal == "<|im_start|>user\n") {
      continue;
    }
    if (literal == kAnswer) {
      has_answer = true;
    } else if (literal == "<|im_start|>assistant\n<think>\n") {
      has_answer = true;
      result.answer_begin_ = "<think>\n";
    } else if (literal.starts_with(kSystem) && literal.ends_with("<|im_end|>\n")) {
      std::string_view text = literal.substr(kSystem.size());
      text.remove_suffix(kImEnd.size() + 1);
      if (Contains(text, "<|") || (result.default_system_ && *result.default_system_ != text)) {
        return std::nullopt;
      }
      result.default_system_ = text;
    } else {
      return std::nullopt;
    }
  }
  if (!has_answer) return std::nullopt;
  if (Contains(jinja, "last_query_index")) {
    result.shows_last_thought_ = true;
  } else if (Contains(jinja, kThinkEnd) || !result.answer_begin_.empty()) {
    return std::nullopt;  // handles thoughts in another way
  }
  return result;
}

std::optional<ChatTemplate> ChatTemplate::DetectLlama3(std::string_view jinja,
                                                       std::span<const std::string> literals) {
  ChatTemplate result;
  result.family_ = Family::kLlama3;
  for (const std::string_view literal : literals) {
    if (!Contains(literal, kStartHeader) || literal == kStartHeader) continue;
    std::string_view role = literal.substr(kStartHeader.size());
    const size_t end = role.find(kEndHeader);
    if (!literal.starts_with(kStartHeader) || end == std::string_view::npos ||
        role.substr(end + kEndHeader.size()) != "\n\n") {
      return std::nullopt;
    }
    role = role.substr(0, end);
    if (role != "assistant" && role != "system" && role != "user" && role != "ipython") {
      return std::nullopt;
    }
  }
  if (!HasLiteral(literals, "<|start_header_id|>assistant<|end_header_id|>\n\n")) {
    return std::nullopt;
  }
  result.writes_bos_ = Contains(jinja, "bos_token");
  result.trims_ = Contains(jinja, "trim");

  // From 3.1 on the system message is always there, and begins with two dates. Where the template
  // would ask for today's, AIOS takes the one that it has for programs without a clock: the same
  // prompt gives the same tokens on every day.
  constexpr std::string_view kCutoff = "Cutting Knowledge Date: December 2023\n";
  if (HasLiteral(literals, kCutoff)) {
    constexpr std::string_view kDate = "26 Jul 2024";
    if (!HasLiteral(literals, "Today Date: ") || !HasLiteral(literals, kDate)) return std::nullopt;
    result.system_header_ = fmt::format("{}Today Date: {}\n\n", kCutoff, kDate);
    result.default_system_ = "";
  } else if (Contains(jinja, "system_message") || Contains(jinja, "date_string")) {
    return std::nullopt;
  }
  return result;
}

std::vector<ChatTemplate::Part> ChatTemplate::Parts(std::span<const ChatMessage> messages) const {
  for (const ChatMessage& message : messages) {
    if (message.role != "system" && message.role != "user" && message.role != "assistant") {
      throw InputError("a message's role must be 'system', 'user' or 'assistant', not {}",
                       Quoted(message.role));
    }
  }
  return family_ == Family::kChatMl ? ChatMlParts(messages) : Llama3Parts(messages);
}

std::vector<ChatTemplate::Part> ChatTemplate::ChatMlParts(
    std::span<const ChatMessage> messages) const {
  std::vector<Part> parts;
  const auto turn = [&](std::string_view role, std::string_view content) {
    parts.push_back({true, std::string(kImStart)});
    parts.push_back({false, fmt::format("{}\n{}", role, content)});
    parts.push_back({true, std::string(kImEnd)});
    parts.push_back({false, "\n"});
  };
  if (default_system_ && (messages.empty() || messages[0].role != "system")) {
    turn("system", *default_system_);
  }
  for (size_t i = 0; i < messages.size(); ++i) {
    turn(messages[i].role, shows_last_thought_ ? Qwen3Content(messages, i) : messages[i].content);
  }
  parts.push_back({true, std::string(kImStart)});
  parts.push_back({false, "assistant\n" + answer_begin_});
  return parts;
}

// Qwen 3: an answer from before the last question is shown without its thought; one after it (the
// model goes on) with it.
std::string ChatTemplate::Qwen3Content(std::span<const ChatMessage> messages, size_t i) const {
  const std::string& content = messages[i].content;
  if (messages[i].role != "assistant") return content;
  std::string_view answer = content;
  std::string_view thought;
  if (const size_t end = answer.rfind(kThinkEnd); end != std::string_view::npos) {
    constexpr std::string_view kThink = "<think>";
    thought = answer.substr(0, answer.find(kThinkEnd));
    if (const size_t begin = thought.rfind(kThink); begin != std::string_view::npos) {
      thought = thought.substr(begin + kThink.size());
    }
    answer = TrimNewlinesLeft(answer.substr(end + kThinkEnd.size()));
  }
  const auto is_question = [](const ChatMessage& message) {
    return message.role == "user" && !(message.content.starts_with("<tool_response>") &&
                                       message.content.ends_with("</tool_response>"));
  };
  const bool question_follows = std::any_of(messages.begin() + i, messages.end(), is_question);
  const bool question_precedes = std::any_of(messages.begin(), messages.begin() + i, is_question);
  const bool last = i + 1 == messages.size();
  thought = TrimNewlines(thought);
  if (question_follows || !question_precedes || (!last && thought.empty())) {
    return std::string(answer);
  }
  return fmt::format("<think>\n{}\n</think>\n\n{}", thought, TrimNewlinesLeft(answer));
}

std::vector<ChatTemplate::Part> ChatTemplate::Llama3Parts(
    std::span<const ChatMessage> messages) const {
  std::vector<Part> parts;
  const auto header = [&](std::string_view role) {
    parts.push_back({true, std::string(kStartHeader)});
    parts.push_back({false, std::string(role)});
    parts.push_back({true, std::string(kEndHeader)});
  };
  const auto turn = [&](std::string_view role, std::string_view header_text,
                        std::string_view content) {
    header(role);
    parts.push_back(
        {false, fmt::format("\n\n{}{}", header_text, trims_ ? Trim(content) : content)});
    parts.push_back({true, std::string(kEndOfTurn)});
  };
  if (writes_bos_) parts.push_back({true, std::string(kBeginOfText)});
  if (default_system_) {
    const bool given = !messages.empty() && messages[0].role == "system";
    turn("system", system_header_, given ? messages[0].content : *default_system_);
    if (given) messages = messages.subspan(1);
  }
  for (const ChatMessage& message : messages) turn(message.role, "", message.content);
  header("assistant");
  parts.push_back({false, "\n\n"});
  return parts;
}

std::vector<TokenId> ChatTemplate::Encode(const Tokenizer& tokenizer,
                                          std::span<const ChatMessage> messages) const {
  std::vector<TokenId> ids;
  // The text between two special tokens is encoded in one piece, as it would be if the whole prompt
  // were: "user\n" and a message that begins with a space may share a token.
  std::string text;
  const auto flush = [&] {
    const std::vector<TokenId> text_ids = tokenizer.Encode(text, SpecialTokens::kAsText);
    ids.insert(ids.end(), text_ids.begin(), text_ids.end());
    text.clear();
  };
  for (const Part& part : Parts(messages)) {
    if (!part.is_special) {
      text += part.text;
      continue;
    }
    flush();
    const std::optional<TokenId> id = tokenizer.FindSpecial(part.text);
    if (!id) {
      throw InputError("the chat template needs the special token {}, which the tokenizer lacks",
                       Quoted(part.text));
    }
    ids.push_back(*id);
  }
  flush();
  return ids;
}

std::string ChatTemplate::Render(std::span<const ChatMessage> messages) const {
  std::string text;
  for (const Part& part : Parts(messages)) text += part.text;
  return text;
}

}  // namespace aios
