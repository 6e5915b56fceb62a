// The C ABI as a caller sees it, and lavin.hpp over it.
#include <cstddef>

#include "capi_fixture.h"

namespace {

TEST_F(CApi, AnswersByAStoredTask) {
  ASSERT_EQ(lavin_run(model, "brighten", &frame, &out), LAVIN_OK) << lavin_last_error(model);
  for (const std::uint8_t value : answer) ASSERT_NEAR(value, 140, 1);  // 100 + (32 + 48) / 2
}

TEST_F(CApi, TellsTasksManifestAndBackEnd) {
  EXPECT_STREQ(lavin_task_name(model, 0), "brighten");
  EXPECT_EQ(lavin_task_name(model, 1), nullptr);
  EXPECT_NE(std::string(lavin_manifest(model)).find("\"format_version\": 1"), std::string::npos);
  const std::string described = lavin_describe(model);
  EXPECT_EQ(described.find("backend auto: onnxruntime "), 0U) << described;
  EXPECT_NE(described.find("; the bundle has no engines"), std::string::npos);
  EXPECT_STREQ(lavin_version(), LAVIN_VERSION);
}

TEST_F(CApi, HonoursStrides) {
  std::vector<std::uint8_t> wide(30 * 128, 7), result(30 * 200, 9);
  for (std::size_t y = 0; y < 30; ++y)
    std::fill_n(wide.begin() + static_cast<long>(y) * 128, 120, 100);
  frame.data = wide.data();
  frame.stride = 128;
  out.data = result.data();
  out.stride = 200;
  ASSERT_EQ(lavin_run(model, "brighten", &frame, &out), LAVIN_OK);
  for (std::size_t y = 0; y < 30; ++y) {
    EXPECT_NEAR(result[200 * y], 140, 1);
    EXPECT_NEAR(result[200 * y + 119], 140, 1);
    EXPECT_EQ(result[200 * y + 120], 9);  // nothing between the rows is touched
  }
}

TEST_F(CApi, AnswersInPlace) {
  out.data = frame.data;
  ASSERT_EQ(lavin_run(model, "brighten", &frame, &out), LAVIN_OK);
  EXPECT_NEAR(pixels[0], 140, 1);
}

TEST_F(CApi, GivesTargetLatentsAndTimes) {
  lavin_request request{};
  request.struct_size = sizeof request;
  request.task = "brighten";
  request.height = 16;
  request.width = 32;
  lavin_result result{};
  result.struct_size = sizeof result;
  ASSERT_EQ(lavin_run_request(model, &request, &frame, &out, &result), LAVIN_OK);
  EXPECT_EQ(result.target.width, 32U);
  EXPECT_EQ(result.target.height, 16U);
  EXPECT_NEAR(result.target.data[0], 140, 1);
  EXPECT_EQ(result.latents_count, 16U * 2 * 4);
  EXPECT_TRUE(std::isfinite(result.latents[0]));
  for (const double seconds : result.seconds) EXPECT_GE(seconds, 0.0);
  EXPECT_EQ(result.pairs, 2);
}

TEST_F(CApi, TakesNoiseInPlaceOfTheSeed) {
  lavin_request request{};
  request.struct_size = sizeof request;
  request.task = "brighten";
  const std::vector<float> noise(16 * 4 * 4, 0.5F);
  request.noise = noise.data();
  request.noise_count = noise.size();
  ASSERT_EQ(lavin_run_request(model, &request, &frame, &out, nullptr), LAVIN_OK);
  request.noise_count = 3;
  EXPECT_EQ(lavin_run_request(model, &request, &frame, &out, nullptr), LAVIN_INVALID);
  EXPECT_STREQ(lavin_last_error(model),
               "noise has 3 values; this run needs (1, 16, 1, 4, 4) or (1, 16, 1, 2, 4).");
}

TEST_F(CApi, RefusesInSentences) {
  const auto refused = [&](lavin_status status, const std::string& sentence) {
    EXPECT_EQ(status, LAVIN_INVALID);
    EXPECT_EQ(lavin_last_error(model), sentence);
  };
  refused(lavin_run(model, "brigten", &frame, &out),
          "unknown task 'brigten'. Did you mean 'brighten'? Accepted: brighten.");
  refused(lavin_run(nullptr, "brighten", &frame, &out), "model is NULL; give one.");
  refused(lavin_run(model, nullptr, &frame, &out),
          "give either the name of a stored task or example pairs.");
  refused(lavin_run(model, "brighten", nullptr, &out), "lavin_image is NULL; give one.");
  lavin_image wrong = frame;
  wrong.struct_size = 0;
  refused(lavin_run(model, "brighten", &wrong, &out),
          "lavin_image.struct_size is 0; set it to sizeof(lavin_image), which is " +
              std::to_string(sizeof(lavin_image)) + ".");
  wrong = frame;
  wrong.width = 0;
  refused(lavin_run(model, "brighten", &wrong, &out),
          "a picture has 1 to 65535 pixels a side; given: 0x30 (width x height).");
  wrong = frame;
  wrong.stride = 119;
  refused(lavin_run(model, "brighten", &wrong, &out),
          "a row of 40 pixels has 120 bytes; the stride is 119.");
  wrong = frame;
  wrong.data = nullptr;
  refused(lavin_run(model, "brighten", &wrong, &out), "lavin_image.data is NULL; give one.");
  wrong = out;
  wrong.width = 20;
  refused(lavin_run(model, "brighten", &frame, &wrong),
          "the answer has 40x30 pixels (width x height), the frame's; out has 20x30.");
  lavin_request request{};
  request.struct_size = sizeof request;
  request.task = "brighten";
  request.steps = -1;
  refused(lavin_run_request(model, &request, &frame, &out, nullptr),
          "steps is -1; it counts model evaluations and is at least 1.");
  request.steps = 2000000000;
  refused(lavin_run_request(model, &request, &frame, &out, nullptr),
          "steps is 2000000000; at most 10000 are taken.");
  request.steps = 0;
  request.num_pairs = 3;
  refused(lavin_run_request(model, &request, &frame, &out, nullptr),
          "cannot use 3 pairs: there are 2 and the bundle takes 1, 2 at 32x32.");
  request.num_pairs = 0;
  request.width = 4000000000U;
  request.height = 1;
  refused(lavin_run_request(model, &request, &frame, &out, nullptr),
          "a size has 1 to 65535 pixels a side; given: 4000000000x1 (width x height).");
  request.width = 0;
  request.height = 0;
  request.noise_count = 5;
  refused(lavin_run_request(model, &request, &frame, &out, nullptr),
          "lavin_request.noise is NULL; give one.");
}

TEST_F(CApi, LoadsWithSentencesToo) {
  lavin_model* other = model;
  EXPECT_EQ(lavin_load("/nowhere/x.lavin", nullptr, &other), LAVIN_INVALID);
  EXPECT_EQ(other, nullptr);
  EXPECT_STREQ(
      lavin_last_error(nullptr),
      "there is no bundle at '/nowhere/x.lavin'; give a folder NAME.lavin or a zip of one.");
  EXPECT_EQ(lavin_load(golden("toy.lavin").c_str(), nullptr, nullptr), LAVIN_INVALID);
  lavin_options options{};
  options.struct_size = sizeof options;
  options.precision = "fp8";
  EXPECT_EQ(lavin_load(golden("toy.lavin").c_str(), &options, &other), LAVIN_INVALID);
  EXPECT_STREQ(lavin_last_error(nullptr),
               "the bundle 'toy.lavin' has no fp8 variant; it has: fp32 portable. Choose one of "
               "them or export it with lavin-export.");
  options.precision = nullptr;
  options.threads = -1;
  EXPECT_EQ(lavin_load(golden("toy.lavin").c_str(), &options, &other), LAVIN_INVALID);
  EXPECT_STREQ(lavin_last_error(nullptr),
               "threads is -1; give 1 to 256, or nothing for all cores.");
  options.threads = 0;
  options.backend = "tensorrt";
  EXPECT_EQ(lavin_load(golden("toy.lavin").c_str(), &options, &other), LAVIN_INVALID);
  EXPECT_NE(std::string(lavin_last_error(nullptr)).find("NVIDIA"), std::string::npos)
      << lavin_last_error(nullptr);
}

TEST_F(CApi, KeepsErrorsOfThreadsApart) {
  lavin_run(model, "nothing", &frame, &out);
  const std::string mine = lavin_last_error(model);
  std::thread([&] { EXPECT_STREQ(lavin_last_error(model), ""); }).join();
  EXPECT_EQ(lavin_last_error(model), mine);
}

TEST_F(CApi, TakesStructsOfLaterVersions) {
  struct Later {
    lavin_request request;
    std::uint64_t more[4];
  } later{};
  later.request.struct_size = sizeof later;
  later.request.task = "brighten";
  EXPECT_EQ(lavin_run_request(model, &later.request, &frame, &out, nullptr), LAVIN_OK);
  lavin_result small{};
  small.struct_size = offsetof(lavin_result, pairs);  // as its first version was
  small.pairs = -1;
  EXPECT_EQ(lavin_run_request(model, &later.request, &frame, &out, &small), LAVIN_OK);
  EXPECT_EQ(small.target.width, 32U);
  EXPECT_EQ(small.pairs, -1);
  small.struct_size -= 8;
  EXPECT_EQ(lavin_run_request(model, &later.request, &frame, &out, &small), LAVIN_INVALID);
}

TEST_F(CApi, LetsTasksTakeTurns) {
  lavin_request request{};
  request.struct_size = sizeof request;
  request.task = "brighten";
  for (int i = 0; i < 12; ++i) {
    request.seed = static_cast<std::uint64_t>(i % 6);  // more than are kept
    ASSERT_EQ(lavin_run_request(model, &request, &frame, &out, nullptr), LAVIN_OK);
    EXPECT_NEAR(answer[0], 140, 1);
  }
}

TEST_F(CApi, TakesNullWhereThatMeansNothing) {
  lavin_free(nullptr);
  lavin_stream_close(nullptr);
  lavin_stream_finish(nullptr);
  EXPECT_EQ(lavin_stream_dropped(nullptr), 0U);
  EXPECT_STREQ(lavin_describe(nullptr), "");
  EXPECT_EQ(lavin_task_name(nullptr, 0), nullptr);
}

TEST_F(CApi, RunsAModelForEachOfFourThreads) {
  std::atomic<int> right{0};
  std::vector<std::thread> threads;
  for (std::uint8_t number = 0; number < 4; ++number) {
    threads.emplace_back([number, &right] {
      lavin::Model own(golden("toy.lavin"), lavin::Options{"onnxruntime", "", "", "", 1});
      const lavin::Picture frame = grey(64, 48, static_cast<std::uint8_t>(20 * number));
      for (int i = 0; i < 25; ++i) {
        const lavin::Picture answer = own.run("brighten", frame);
        right += std::abs(answer.data()[100] - (20 * number + 40)) <= 1;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(right, 100);
}

TEST_F(CApi, SharesAModelAmongFourThreads) {
  std::atomic<int> right{0};
  std::vector<std::thread> threads;
  for (std::uint8_t number = 0; number < 4; ++number) {
    threads.emplace_back([this, number, &right] {
      lavin::Picture frame = grey(33, 57, static_cast<std::uint8_t>(20 * number));
      for (int i = 0; i < 25; ++i) {
        lavin::Picture found(33, 57);
        lavin_image in = frame.c_image(), result = found.c_image();
        right += lavin_run(model, "brighten", &in, &result) == LAVIN_OK &&
                 std::abs(found.data()[100] - (20 * number + 40)) <= 1;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(right, 100);
}

TEST_F(CApi, IsWrappedByTheHeaderForCpp) {
  lavin::Model own(golden("toy.lavin"));
  EXPECT_EQ(own.tasks(), std::vector<std::string>{"brighten"});
  lavin::Request request;
  const lavin::Picture dark = grey(32, 32, 50), light = grey(32, 32, 80);
  request.pairs.emplace_back(dark, light);
  request.guidance = 1.0;
  const lavin::Result result = own.run(request, grey(20, 20, 100));
  EXPECT_NEAR(result.image.data()[0], 130, 1);
  EXPECT_EQ(result.target.width(), 32U);
  EXPECT_EQ(result.latents.size(), 256U);
  try {
    own.run("nothing", dark);
    FAIL();
  } catch (const lavin::Error& error) {
    EXPECT_EQ(error.status(), LAVIN_INVALID);
    EXPECT_STREQ(error.what(), "unknown task 'nothing'. Accepted: brighten.");
  }
  lavin::Stream stream(own, request);
  EXPECT_TRUE(stream.push(dark, 3));
  stream.finish();
  const auto answer = stream.pull();
  ASSERT_TRUE(answer);
  EXPECT_EQ(answer->id, 3);
  EXPECT_NEAR(answer->image.data()[0], 80, 1);
  EXPECT_FALSE(stream.pull());
  EXPECT_TRUE(stream.finished());
}

}  // namespace
