#include "text/jinja/template_testing.h"

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <stdexcept>
#include <unistd.h>

namespace fathom::text::jinja {

namespace {

std::string read_file(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) throw std::runtime_error("cannot read " + path.string());
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

// A folder that goes with the object.
class Folder {
 public:
  Folder() {
    std::string name = (std::filesystem::temp_directory_path() / "jinja-oracle-XXXXXX").string();
    if (mkdtemp(name.data()) == nullptr) throw std::runtime_error("no temporary folder");
    path_ = name;
  }
  ~Folder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;
  std::filesystem::path operator/(const char* name) const { return path_ / name; }

 private:
  std::filesystem::path path_;
};

}  // namespace

std::vector<std::optional<std::string>> render_in_python(const std::vector<Rendering>& renderings) {
  const Folder folder;
  {
    std::ofstream questions(folder / "questions", std::ios::binary);
    for (const Rendering& rendering : renderings) {
      Json question = Json::object();
      question.set("template", Json::string(rendering.source));
      question.set("variables", rendering.variables);
      questions << to_json(question) << '\n';
    }
  }
  const std::string command =
      std::string("'" FATHOM_PYTHON "' '" FATHOM_CLIENTS "/render_templates.py' < '") +
      (folder / "questions").string() + "' > '" + (folder / "answers").string() + "'";
  // NOLINTNEXTLINE(concurrency-mt-unsafe): one thread
  if (std::system(command.c_str()) != 0) throw std::runtime_error("failed: " + command);
  std::istringstream answers(read_file(folder / "answers"));
  std::vector<std::optional<std::string>> texts;
  for (std::string line; std::getline(answers, line);) {
    const Json answer = parse_json(line).value();
    const Json* const text = answer.find("text");
    texts.push_back(text == nullptr ? std::nullopt : std::optional(*text->as_string()));
  }
  if (texts.size() != renderings.size()) throw std::runtime_error("Python left answers out");
  return texts;
}

std::string test_file(const std::string& name) {
  return read_file(std::filesystem::path(FATHOM_SOURCE_DIR) / "tests/data/jinja" / name);
}

}  // namespace fathom::text::jinja
