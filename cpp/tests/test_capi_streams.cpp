// Streams by the C ABI.
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <limits>

#include "capi_fixture.h"

namespace {

TEST_F(CApi, StreamsFrames) {
  lavin_request request{};
  request.struct_size = sizeof request;
  request.task = "brighten";
  lavin_stream* stream = nullptr;
  ASSERT_EQ(lavin_stream_open(model, &request, nullptr, &stream), LAVIN_OK);
  EXPECT_EQ(lavin_stream_push(stream, &frame, 41, -1), LAVIN_OK);
  lavin_image size{};
  size.struct_size = sizeof size;
  std::int64_t id = 0;
  ASSERT_EQ(lavin_stream_pull(stream, &size, &id, -1), LAVIN_OK);  // looks only
  EXPECT_EQ(size.width, 40U);
  EXPECT_EQ(size.height, 30U);
  EXPECT_EQ(id, 41);
  lavin_image small = out;
  small.height = 10;
  EXPECT_EQ(lavin_stream_pull(stream, &small, &id, -1), LAVIN_INVALID);  // and it stays
  ASSERT_EQ(lavin_stream_pull(stream, &out, &id, -1), LAVIN_OK);
  EXPECT_NEAR(answer[0], 140, 1);
  EXPECT_EQ(lavin_stream_pull(stream, &out, &id, 0), LAVIN_TIMEOUT);
  EXPECT_EQ(lavin_run(model, "brighten", &frame, &out), LAVIN_OK);  // beside an open stream
  lavin_stream_finish(stream);
  EXPECT_EQ(lavin_stream_pull(stream, &out, nullptr, -1), LAVIN_END);
  EXPECT_EQ(lavin_stream_push(stream, &frame, 0, -1), LAVIN_INVALID);
  EXPECT_EQ(lavin_stream_dropped(stream), 0U);
  lavin_stream_close(stream);
  request.task = "nothing";
  EXPECT_EQ(lavin_stream_open(model, &request, nullptr, &stream), LAVIN_INVALID);
  EXPECT_EQ(stream, nullptr);
}

// The toy bundle with an infinite number in its table of modulations, whose answers are no
// pictures.
std::filesystem::path without_answers() {
  namespace fs = std::filesystem;
  std::string name = (fs::temp_directory_path() / "lavin-test-XXXXXX").native();
  EXPECT_NE(mkdtemp(name.data()), nullptr);
  const fs::path bundle = fs::path(name) / "toy.lavin";
  fs::copy(golden("toy.lavin"), bundle, fs::copy_options::recursive);
  const auto content_of = [](const fs::path& path) {
    std::ifstream file(path, std::ios::binary);
    return std::string(std::istreambuf_iterator<char>(file), {});
  };
  std::string table = content_of(bundle / "tables/modulation.npy");
  const std::string before = lavin::core::digest(table.data(), table.size());
  const float infinite = std::numeric_limits<float>::infinity();
  std::memcpy(table.data() + table.size() - 2 * sizeof infinite, &infinite, sizeof infinite);
  std::ofstream(bundle / "tables/modulation.npy", std::ios::binary) << table;
  std::string manifest = content_of(bundle / "manifest.json");
  manifest.replace(manifest.find(before), before.size(),
                   lavin::core::digest(table.data(), table.size()));
  std::ofstream(bundle / "manifest.json", std::ios::binary) << manifest;
  return bundle;
}

TEST_F(CApi, SaysWhichFrameFailed) {
  const std::filesystem::path bundle = without_answers();
  lavin_free(model);
  ASSERT_EQ(lavin_load(bundle.c_str(), nullptr, &model), LAVIN_OK) << lavin_last_error(nullptr);
  lavin_request request{};
  request.struct_size = sizeof request;
  request.task = "brighten";
  lavin_stream* stream = nullptr;
  ASSERT_EQ(lavin_stream_open(model, &request, nullptr, &stream), LAVIN_OK);
  ASSERT_EQ(lavin_stream_push(stream, &frame, 5, -1), LAVIN_OK);
  std::int64_t id = 0;
  EXPECT_EQ(lavin_stream_pull(stream, &out, &id, -1), LAVIN_FRAME_FAILED);
  EXPECT_EQ(id, 5);
  EXPECT_NE(std::string(lavin_last_error(model)).find("infinite or undefined"), std::string::npos);
  EXPECT_EQ(lavin_stream_pull(stream, &out, &id, 0), LAVIN_TIMEOUT);  // it was taken
  lavin_stream_close(stream);
  std::filesystem::remove_all(bundle.parent_path());
}

TEST_F(CApi, DropsOrTimesOutWhereNobodyPulls) {
  lavin_request request{};
  request.struct_size = sizeof request;
  request.task = "brighten";
  lavin_stream_options options{};
  options.struct_size = sizeof options;
  options.capacity = 1;
  lavin_stream* waiting = nullptr;
  lavin_stream* dropping = nullptr;
  ASSERT_EQ(lavin_stream_open(model, &request, &options, &waiting), LAVIN_OK);
  options.drop = 1;
  ASSERT_EQ(lavin_stream_open(model, &request, &options, &dropping), LAVIN_OK);
  lavin_status status = LAVIN_OK;
  int taken = 0;
  for (; status == LAVIN_OK; ++taken) status = lavin_stream_push(waiting, &frame, taken, 300);
  EXPECT_EQ(status, LAVIN_TIMEOUT);
  EXPECT_LE(taken, 4);
  for (int i = 0; i < 10; ++i) EXPECT_EQ(lavin_stream_push(dropping, &frame, i, 0), LAVIN_OK);
  EXPECT_GE(lavin_stream_dropped(dropping), 6U);
  lavin_stream_close(dropping);  // with work left, while the other stream is open
  EXPECT_EQ(lavin_run(model, "brighten", &frame, &out), LAVIN_OK);
  lavin_stream_close(waiting);
}

TEST_F(CApi, ClosesStreamsWhileOthersRun) {
  std::vector<std::thread> threads;
  std::atomic<int> right{0};
  for (int number = 0; number < 3; ++number) {
    threads.emplace_back([&] {
      for (int round = 0; round < 5; ++round) {
        lavin_request request{};
        request.struct_size = sizeof request;
        request.task = "brighten";
        lavin_stream* stream = nullptr;
        if (lavin_stream_open(model, &request, nullptr, &stream) != LAVIN_OK) return;
        for (int i = 0; i < 2; ++i) lavin_stream_push(stream, &frame, i, -1);
        std::vector<std::uint8_t> own;
        lavin_image result = image(own, 40, 30);
        right += lavin_stream_pull(stream, &result, nullptr, -1) == LAVIN_OK;
        lavin_stream_close(stream);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(right, 15);
}

}  // namespace
