// The same two sentences in several languages, and what a program says in their place: to see how
// many bytes of each a vocabulary gets into a token.
#pragma once

#include <array>
#include <string_view>

namespace aios {

struct LanguageSample {
  std::string_view language;
  std::string_view text;
};

inline constexpr std::array<LanguageSample, 10> kLanguageSamples = {{
    {"English",
     "A computer reads numbers, not words. So every text is first cut into pieces, and each piece "
     "has a number."},
    {"German",
     "Ein Computer liest Zahlen, keine Wörter. Darum wird jeder Text zuerst in Stücke geteilt, und "
     "jedes Stück hat eine Nummer."},
    {"French",
     "Un ordinateur lit des nombres, pas des mots. Tout texte est donc d'abord coupé en morceaux, "
     "et chaque morceau a un numéro."},
    {"Spanish",
     "Una computadora lee números, no palabras. Por eso todo texto se corta primero en trozos, y "
     "cada trozo tiene un número."},
    {"Russian",
     "Компьютер читает числа, а не слова. Поэтому любой текст сначала делят на части, и у каждой "
     "части есть номер."},
    {"Arabic", "الحاسوب يقرأ الأرقام لا الكلمات. لذلك يقطع كل نص أولا إلى أجزاء، ولكل جزء رقم."},
    {"Hindi",
     "कंप्यूटर संख्याएँ पढ़ता है, शब्द नहीं। इसलिए हर पाठ को पहले टुकड़ों में काटा जाता है, और हर टुकड़े की एक संख्या "
     "होती है।"},
    {"Chinese", "计算机读的是数字，不是文字。所以每段文本先被切成小块，每一块都有一个编号。"},
    {"Japanese",
     "コンピュータが読むのは言葉ではなく数字です。だから文章はまず小さな部分に分けられ、それぞれに"
     "番号が付きます。"},
    {"C++",
     "for (const std::string_view piece : Split(text)) {\n  "
     "numbers.push_back(number_of.at(piece));\n"
     "}\n"},
}};

}  // namespace aios
