#include "bench/tokenizer_texts.h"

#include <algorithm>
#include <cmath>
#include <iterator>
#include <random>
#include <string_view>

namespace fathom::bench {
namespace {

// From common to rare.
constexpr std::string_view kEnglish[] = {"the",
                                         "of",
                                         "and",
                                         "to",
                                         "a",
                                         "in",
                                         "is",
                                         "that",
                                         "it",
                                         "was",
                                         "for",
                                         "on",
                                         "are",
                                         "with",
                                         "as",
                                         "be",
                                         "this",
                                         "at",
                                         "from",
                                         "or",
                                         "by",
                                         "an",
                                         "not",
                                         "have",
                                         "but",
                                         "they",
                                         "which",
                                         "you",
                                         "one",
                                         "were",
                                         "all",
                                         "their",
                                         "there",
                                         "can",
                                         "has",
                                         "more",
                                         "if",
                                         "will",
                                         "when",
                                         "each",
                                         "other",
                                         "how",
                                         "its",
                                         "two",
                                         "may",
                                         "then",
                                         "so",
                                         "these",
                                         "some",
                                         "would",
                                         "into",
                                         "time",
                                         "than",
                                         "first",
                                         "could",
                                         "people",
                                         "only",
                                         "over",
                                         "use",
                                         "new",
                                         "after",
                                         "also",
                                         "work",
                                         "three",
                                         "water",
                                         "called",
                                         "where",
                                         "most",
                                         "know",
                                         "because",
                                         "through",
                                         "between",
                                         "system",
                                         "model",
                                         "number",
                                         "year",
                                         "small",
                                         "part",
                                         "until",
                                         "example",
                                         "without",
                                         "large",
                                         "paper",
                                         "state",
                                         "second",
                                         "write",
                                         "question",
                                         "answer",
                                         "result",
                                         "during",
                                         "language",
                                         "several",
                                         "before",
                                         "light",
                                         "table",
                                         "value",
                                         "change",
                                         "function",
                                         "memory",
                                         "letter",
                                         "island",
                                         "harbour",
                                         "winter",
                                         "machine",
                                         "measure",
                                         "different",
                                         "important",
                                         "however",
                                         "following",
                                         "attention",
                                         "sequence",
                                         "between",
                                         "distance",
                                         "request",
                                         "increase",
                                         "develop",
                                         "remember",
                                         "process",
                                         "government",
                                         "temperature",
                                         "information",
                                         "experience",
                                         "mountain",
                                         "particular",
                                         "understand",
                                         "journey",
                                         "evening",
                                         "neighbour",
                                         "scheduler",
                                         "bandwidth",
                                         "parameters",
                                         "architecture",
                                         "probability",
                                         "approximately",
                                         "distribution",
                                         "environmental",
                                         "communication",
                                         "observation",
                                         "reasonable",
                                         "translation",
                                         "vocabulary",
                                         "consequence",
                                         "independent",
                                         "laboratory",
                                         "philosophy",
                                         "instrument",
                                         "electricity",
                                         "manufacturer",
                                         "lighthouse",
                                         "photograph",
                                         "quarrelled",
                                         "tokenizer",
                                         "quantization",
                                         "prefetching",
                                         "throughput",
                                         "idempotent",
                                         "rehydrated",
                                         "counterclockwise",
                                         "thermodynamic",
                                         "misremembered",
                                         "unceremoniously",
                                         "cartographer",
                                         "archipelago"};

constexpr std::string_view kChinese[] = {
    "的",   "了",   "在",   "是",     "和",     "有",   "我们", "这",   "一个", "不",   "他们",
    "可以", "对",   "也",   "就",     "与",     "中",   "人",   "上",   "为",   "到",   "会",
    "使用", "模型", "问题", "时间",   "进行",   "数据", "系统", "通过", "如果", "需要", "没有",
    "已经", "因为", "所以", "但是",   "工作",   "发展", "研究", "方法", "结果", "语言", "学习",
    "提供", "不同", "主要", "其中",   "由于",   "以及", "信息", "计算", "技术", "社会", "经济",
    "世界", "国家", "城市", "学生",   "老师",   "朋友", "孩子", "早上", "晚上", "天气", "春天",
    "河流", "山脉", "海边", "灯塔",   "机器",   "请求", "服务", "内存", "序列", "长度", "注意力",
    "参数", "训练", "推理", "分布",   "概率",   "实验", "测量", "温度", "速度", "距离", "历史",
    "文化", "音乐", "故事", "书籍",   "记者",   "会议", "报告", "文章", "读者", "例如", "首先",
    "其次", "最后", "同时", "此外",   "然而",   "显著", "提高", "降低", "优化", "设计", "结构",
    "架构", "调度", "缓存", "吞吐量", "延迟",   "量化", "稀疏", "矩阵", "向量", "梯度", "葡萄",
    "蝴蝶", "咖啡", "邻居", "隧道",   "望远镜", "蒸汽", "鹦鹉", "磁场", "榫卯", "晷",   "耄耋",
    "踟蹰", "瓷器", "珊瑚", "琥珀"};
constexpr std::string_view kChineseCharacters =
    "大小多少来去看说想做走跑高低前后左右东西南北红黄蓝白黑金木水火土日月星风云雨雪花草树鸟鱼马牛羊"
    "手足口耳目心门窗床车船路桥";

constexpr std::string_view kSyllables[] = {"ka",  "ro",  "mi",  "ten", "sul", "ve", "dra",
                                           "pho", "lin", "gor", "ax",  "ea",  "th", "un",
                                           "ist", "qu",  "zer", "by",  "ol",  "nce"};

// # is a name, $ a number, @ a string.
constexpr std::string_view kCode[] = {
    // NOLINTNEXTLINE(bugprone-suspicious-missing-comma): one line is one entry or a part of it
    "def #(self, #, #=None):\n    \"\"\"@.\"\"\"\n    if # is None:\n        return self.#[$]\n    "
    "return # + self._#(#)\n\n",
    "for (int # = 0; # < $; ++#) {\n    #[#] = #(#, $) * 0.$f;  // @\n}\n",
    "std::vector<#> # = #(#.begin(), #.end());\nif (!#.empty()) return Status::#(\"@\");\n",
    "const # = async (#) => {\n  const { #, # } = await #.get(`/#/${#}?limit=$`);\n  return "
    "#.map((#) => #.#);\n};\n",
    "SELECT #, COUNT(*) AS # FROM # WHERE # > $ AND # = '@' GROUP BY # LIMIT $;\n",
    "{\"#\": $, \"#\": [\"@\", \"@\"], \"#\": {\"#\": $.$, \"#\": null}}\n",
    "\t#.# = append(#.#, &#{#: $, #: \"@\"})\n\tif err != nil {\n\t\treturn fmt.Errorf(\"@: %w\", "
    "err)\n\t}\n",
    "import # from '#';\nfrom # import #, #\n\n",
    "class #(#):\n    # = $\n    # = \"@\"\n\n",
    "| # | $ | @ |\n|---|---|---|\n",
    "$ #.$.$ -- #/#_#.#: $ ms\n"};

class Writer {
 public:
  std::string document(std::size_t least, std::size_t most) {
    const std::size_t wanted = least + random_() % (most - least + 1);
    text_.clear();
    while (text_.size() < wanted) {
      switch (random_() % 3) {
        case 0:
          english();
          break;
        case 1:
          chinese();
          break;
        default:
          code();
          break;
      }
      text_ += "\n";
    }
    return text_;
  }

 private:
  std::size_t below(std::size_t limit) { return random_() % limit; }

  // Rank r with a probability like 1 / (r + 1).
  template <std::size_t kSize>
  std::string_view common(const std::string_view (&list)[kSize]) {
    const double uniform = static_cast<double>(random_()) / 4294967296.0;
    const auto rank = static_cast<std::size_t>(std::pow(static_cast<double>(kSize), uniform)) - 1;
    return list[std::min(rank, kSize - 1)];
  }

  std::string word() {
    if (below(8) != 0) return std::string(common(kEnglish));
    std::string made;
    for (std::size_t left = 2 + below(3); left > 0; --left)
      made += kSyllables[below(std::size(kSyllables))];
    if (below(2) == 0) made[0] = static_cast<char>(made[0] - 'a' + 'A');
    return made;
  }

  void english() {
    for (std::size_t sentences = 2 + below(5); sentences > 0; --sentences) {
      std::string first = word();
      if (first[0] >= 'a') first[0] = static_cast<char>(first[0] - 'a' + 'A');
      text_ += first;
      for (std::size_t words = 5 + below(18); words > 0; --words) {
        if (below(12) == 0) text_ += ',';
        text_ += ' ';
        text_ += below(40) == 0 ? std::to_string(below(3000)) : word();
        if (below(30) == 0) text_ += "'s";
      }
      text_ += below(8) == 0 ? "? " : ". ";
    }
    text_.back() = '\n';
  }

  void chinese() {
    for (std::size_t clauses = 6 + below(15); clauses > 0; --clauses) {
      for (std::size_t words = 3 + below(8); words > 0; --words) {
        if (below(7) == 0) {
          text_ += kChineseCharacters.substr(3 * below(kChineseCharacters.size() / 3), 3);
        } else {
          text_ += common(kChinese);
        }
      }
      if (below(15) == 0) text_ += std::to_string(below(3000));
      if (below(20) == 0) text_ += " " + word() + " ";
      text_ += below(3) == 0 ? "。" : "，";
    }
    text_ += '\n';
  }

  void name() {
    text_ += common(kEnglish);
    if (below(2) == 0) (text_ += '_') += word();
  }

  void code() {
    for (std::size_t left = 2 + below(4); left > 0; --left) {
      for (const char c : kCode[below(std::size(kCode))]) {
        if (c == '#') {
          name();
        } else if (c == '$') {
          text_ += std::to_string(below(5000));
        } else if (c == '@') {
          ((text_ += word()) += ' ') += word();
        } else {
          text_ += c;
        }
      }
    }
  }

  std::mt19937 random_{7};  // NOLINT(bugprone-random-generator-seed)
  std::string text_;
};

}  // namespace

std::vector<std::string> mixed_documents(std::size_t total, std::size_t least, std::size_t most) {
  Writer writer;
  std::vector<std::string> documents;
  for (std::size_t size = 0; size < total; size += documents.back().size()) {
    documents.push_back(writer.document(least, most));
  }
  return documents;
}

}  // namespace fathom::bench
