#include <algorithm>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <unistd.h>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "observe/crash_dump.h"
#include "observe/python_text.h"
#include "observe/request_log.h"
#include "observe/scheduler_log.h"

namespace fathom::observe {
namespace {

using testing::HasSubstr;

Json json(std::string_view text) { return parse_json(text).value(); }

std::string python(const Json& value, std::size_t most = 0) {
  std::string out;
  append_python(out, value, most);
  return out;
}

TEST(PythonText, IsWhatPythonShows) {
  EXPECT_EQ(python(json(R"({"a":null,"b":[true,false,1.5,-2],"c":{}})")),
            "{'a': None, 'b': [True, False, 1.5, -2], 'c': {}}");
  EXPECT_EQ(python(json(R"("it's")")), "\"it's\"");
  EXPECT_EQ(python(json(R"("it's \"both\"")")), R"('it\'s "both"')");
  EXPECT_EQ(python(json(R"("a\nb\t\\ \u0007 é 中")")), R"('a\nb\t\\ \x07 é 中')");
  EXPECT_EQ(python_call("F", json(R"({"rid":"x","n":1})")), "F(rid='x', n=1)");
}

TEST(PythonText, CutsInTheMiddleAndBetweenCharacters) {
  EXPECT_EQ(python(json(R"("abcdefgh")"), 4), "'ab' ... 'gh'");
  EXPECT_EQ(python(json(R"("abcd")"), 4), "'abcd'");
  EXPECT_EQ(python(json(R"("a中中b")"), 4), "'a' ... 'b'");
  EXPECT_EQ(python(json("[1,2,3,4,5,6]"), 4), "[1, 2] ... [5, 6]");
  EXPECT_EQ(to_json(shortened(json(R"({"t":"abcdefgh","l":[1,2,3,4,5,6]})"), 4)),
            R"({"t":"ab...gh","l":[1,2,"...",5,6]})");
}

class RequestLine : public testing::Test {
 protected:
  static std::string line(int level, bool as_json, bool finished) {
    const Json request = json(
        R"({"rid":"r1","text":"hi","input_ids":[1,2],"sampling_params":{"n":1},"stream":true})");
    const Json answer =
        json(R"({"text":"yo","output_ids":[3],"meta_info":{"id":"r1","completion_tokens":1}})");
    const RequestLogSettings settings{true, level, as_json};
    const LoggedRequest logged{settings, "r1", RequestLog::show(settings, request)};
    return RequestLog::line(logged, finished ? &answer : nullptr, "2026-01-05T10:00:00.000001");
  }
};

TEST_F(RequestLine, TextByLevel) {
  EXPECT_EQ(line(0, false, false), "Receive: obj=GenerateReqInput(rid='r1', stream=True)");
  EXPECT_EQ(line(1, false, false),
            "Receive: obj=GenerateReqInput(rid='r1', sampling_params={'n': 1}, stream=True)");
  EXPECT_EQ(line(2, false, false),
            "Receive: obj=GenerateReqInput(rid='r1', text='hi', input_ids=[1, 2], "
            "sampling_params={'n': 1}, stream=True)");
  EXPECT_EQ(line(0, false, true),
            "Finish: obj=GenerateReqInput(rid='r1', stream=True), "
            "out={'meta_info': {'id': 'r1', 'completion_tokens': 1}}");
  EXPECT_THAT(line(3, false, true),
              HasSubstr("out={'text': 'yo', 'output_ids': [3], 'meta_info': {"));
}

TEST_F(RequestLine, JsonByLevel) {
  EXPECT_EQ(line(0, true, false),
            R"({"timestamp":"2026-01-05T10:00:00.000001","event":"request.received","rid":"r1",)"
            R"("obj":{"rid":"r1","stream":true}})");
  EXPECT_EQ(line(1, true, true),
            R"({"timestamp":"2026-01-05T10:00:00.000001","event":"request.finished","rid":"r1",)"
            R"("obj":{"rid":"r1","sampling_params":{"n":1},"stream":true},)"
            R"("out":{"meta_info":{"id":"r1","completion_tokens":1}}})");
}

TEST_F(RequestLine, LevelTwoCutsAndLevelThreeDoesNot) {
  Json request = Json::object();
  request.set("text", Json::string(std::string(5000, 'a')));
  const auto length = [&request](int level) {
    return RequestLog::show({true, level, false}, request).size();
  };
  EXPECT_LT(length(2), 2200U);
  EXPECT_GT(length(3), 5000U);
}

TEST(RequestLog, SettingsChangeTogether) {
  RequestLog log({});
  EXPECT_FALSE(log.enabled());
  log.configure({true, 3, true});
  EXPECT_TRUE(log.settings().json);
  EXPECT_EQ(log.settings().level, 3);
  EXPECT_TRUE(log.shows_content());
  log.configure({true, 1, false});
  EXPECT_FALSE(log.shows_content());
}

TEST(RequestLog, LinesHaveTheSettingsOfTheArrival) {
  RequestLog log({true, 0, false}, /*exceeded_ms=*/10);
  testing::internal::CaptureStderr();
  const LoggedRequest first = log.received("a", json(R"({"rid":"a","text":"secret"})"));
  log.configure({true, 3, true});
  log.finished(first, json(R"({"text":"secret"})"), 10);
  log.finished(first, json(R"({"text":"too quick"})"), 9);
  log.configure({false, 3, true});
  log.finished(first, json(R"({"text":"off"})"), 10);
  const LoggedRequest second = log.received("b", json(R"({"rid":"b"})"));
  log.configure({true, 3, true});
  log.finished(second, json("{}"), 10);
  const std::string written = testing::internal::GetCapturedStderr();
  EXPECT_THAT(written, HasSubstr("] Receive: obj=GenerateReqInput(rid='a')\n"));
  EXPECT_THAT(written, HasSubstr("] Finish: obj=GenerateReqInput(rid='a'), out={}\n"));
  EXPECT_EQ(std::count(written.begin(), written.end(), '\n'), 2) << written;
}

TEST(SchedulerLines, AreSpelledAsOperatorsSearchThem) {
  StepNote note;
  note.prefill_requests = 2;
  note.prefill_tokens = 300;
  note.prefill_used_tokens = 640;
  note.pool_tokens = 6400;
  note.running = 5;
  note.waiting = 1;
  EXPECT_EQ(prefill_line(note),
            "Prefill batch, #new-seq: 2, #new-token: 300, #cached-token: 0, token usage: 0.10, "
            "#running-req: 5, #queue-req: 1, ");
  note.cached_tokens = 128;
  EXPECT_THAT(prefill_line(note), HasSubstr(", #new-token: 300, #cached-token: 128, token usage"));
  note.decode_running = 7;
  note.used_tokens = 1280;
  note.graph = true;
  EXPECT_EQ(decode_line(note, {1234.567, 0, 0}),
            "Decode batch, #running-req: 7, #token: 1280, token usage: 0.20, cuda graph: True, "
            "gen throughput (token/s): 1234.57, #queue-req: 1, ");
  note.draft_tokens = 2;
  EXPECT_EQ(decode_line(note, {1234.567, 40, 30}),
            "Decode batch, #running-req: 7, #token: 1280, token usage: 0.20, accept len: 1.75, "
            "accept rate: 0.88, cuda graph: True, gen throughput (token/s): 1234.57, "
            "#queue-req: 1, ");
  EXPECT_THAT(decode_line(note, {0, 40, 0}), HasSubstr("accept len: 1.00, accept rate: 0.50,"));
  EXPECT_THAT(decode_line(note, {0, 0, 0}), HasSubstr("accept len: 0.00, accept rate: 0.00,"));
  note.draft_tokens = 4;
  EXPECT_THAT(decode_line(note, {0, 40, 30}), HasSubstr("accept len: 1.75, accept rate: 0.44,"));
  note.retracted = 3;
  note.retracted_tokens = 192;
  note.ratio_before = 0.7;
  note.ratio_after = 0.85;
  EXPECT_EQ(retraction_line(note),
            "KV cache pool is full. Retract requests. #retracted_reqs: 3, #new_tokens_gained: 192, "
            "#new_token_ratio: 0.7000 -> 0.8500");
}

TEST(SchedulerLines, SayWhyDraftsAreOff) {
  EXPECT_EQ(draft_switch_line(false, 0.8),
            "Drafts are off for a while: with them answers take 1.25 times as long. "
            "--speculative-off-switch never keeps them on.");
  EXPECT_THAT(draft_switch_line(false, 0), HasSubstr("are off for a while: no steps show"));
  EXPECT_THAT(draft_switch_line(true, 0.8), HasSubstr("Drafts are on again"));
}

TEST(SchedulerLog, WritesWhatWasPushedBeforeItEnds) {
  testing::internal::CaptureStderr();
  {
    SchedulerLog log;
    StepNote note;
    note.prefill_requests = 1;
    log.push(note);
    log.tell("A line of its own");
    note.prefill_requests = 0;
    note.tells_decode = true;
    note.at_ns = std::int64_t{1} << 62;
    log.push(note);
  }
  const std::string written = testing::internal::GetCapturedStderr();
  EXPECT_THAT(written, HasSubstr("] Prefill batch, #new-seq: 1"));
  EXPECT_THAT(written, HasSubstr("] A line of its own\n"));
  EXPECT_THAT(written, HasSubstr("] Decode batch, #running-req: 0"));
  EXPECT_LT(written.find("Prefill batch"), written.find("A line of its own"));
  EXPECT_LT(written.find("A line of its own"), written.find("Decode batch"));
}

class CrashDumpTest : public testing::Test {
 protected:
  void TearDown() override { std::filesystem::remove_all(folder_); }
  const std::string folder_ = testing::TempDir() + "fathom-crash-dump-" + std::to_string(getpid());
};

TEST_F(CrashDumpTest, HoldsTheLastMinutesAndWhatIsUnfinished) {
  CrashDump dump(folder_);
  dump.keep("old", 0);
  dump.keep("new", CrashDump::kKeptNs + 1);

  const auto path = dump.write({"unfinished"});

  ASSERT_TRUE(path.ok()) << path.status().message();
  EXPECT_THAT(*path, HasSubstr("/crash_dump_"));
  using std::filesystem::perms;
  EXPECT_EQ(std::filesystem::status(*path).permissions() & (perms::group_all | perms::others_all),
            perms::none);
  std::stringstream text;
  text << std::ifstream(*path).rdbuf();
  EXPECT_EQ(text.str(), "new\nunfinished\n");
  EXPECT_EQ(*dump.write({}), *path);  // once
}

TEST_F(CrashDumpTest, IsBounded) {
  CrashDump dump(folder_);
  dump.keep(std::string(CrashDump::kMostBytes, 'x'), 1);
  dump.keep("y", 2);
  dump.keep(std::string(CrashDump::kMostBytes + 1, 'z'), 3);
  EXPECT_LT(std::filesystem::file_size(*dump.write({})), 10U);
}

TEST_F(CrashDumpTest, WithoutAFolderNothingIsWritten) {
  CrashDump dump;
  dump.keep("line", 0);
  EXPECT_EQ(*dump.write({"other"}), "");
  dump.set_folder("/dev/null/no");
  EXPECT_THAT(dump.write({}).status().message(), HasSubstr("--crash-dump-folder"));
}

}  // namespace
}  // namespace fathom::observe
