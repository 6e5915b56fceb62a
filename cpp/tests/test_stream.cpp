#include <atomic>
#include <future>

#include "runtime/stream.h"
#include "support.h"

namespace lavin::core {
namespace {

using namespace std::chrono_literals;

Picture marked(std::uint8_t value) {
  Picture picture(1, 1);
  picture.data = {value, value, value};
  return picture;
}

Picture brighter(const Picture& frame) {
  return marked(static_cast<std::uint8_t>(frame.data[0] + 1));
}

struct Taken {
  Stream::Pulled status;
  Stream::Item item;
};

Taken take(Stream& stream, int timeout_ms = -1) {
  Taken taken{};
  taken.status = stream.pull(
      [&](const Stream::Item& item) {
        taken.item = item;
        return true;
      },
      timeout_ms);
  return taken;
}

TEST(Stream, AnswersInOrder) {
  Stream stream(brighter, 2, false);
  std::thread camera([&] {
    for (std::uint8_t i = 0; i < 50; ++i) ASSERT_TRUE(stream.push(marked(i), 100 + i, -1));
    stream.finish();
  });
  for (int i = 0; i < 50; ++i) {
    const Taken taken = take(stream);
    ASSERT_EQ(taken.status, Stream::Pulled::kItem);
    EXPECT_EQ(taken.item.id, 100 + i);
    EXPECT_EQ(taken.item.picture.data[0], i + 1);
  }
  EXPECT_EQ(take(stream).status, Stream::Pulled::kEnd);
  camera.join();
  EXPECT_EQ(stream.dropped(), 0U);
}

TEST(Stream, HoldsNoMoreThanItsCapacity) {
  Stream stream(brighter, 2, false);
  int taken = 0;
  while (stream.push(marked(0), taken, 200)) ++taken;
  EXPECT_GE(taken, 4);  // two wait, two are answered
  EXPECT_LE(taken, 5);  // and one may be on its way
  EXPECT_FALSE(stream.push(marked(0), 9, 0));
}

TEST(Stream, DropsTheOldestFrameWhereThatIsAsked) {
  std::promise<void> open;
  std::shared_future<void> opened = open.get_future().share();
  std::atomic<int> begun{0};
  Stream stream(
      [&](const Picture& frame) {
        ++begun;
        opened.wait();
        return brighter(frame);
      },
      2, true);
  stream.push(marked(0), 0, -1);
  while (begun == 0) std::this_thread::sleep_for(1ms);  // the first is in work
  for (std::uint8_t i = 1; i < 10; ++i) EXPECT_TRUE(stream.push(marked(i), i, -1));
  EXPECT_EQ(stream.dropped(), 7U);
  open.set_value();
  stream.finish();
  std::vector<std::int64_t> ids;
  for (Taken taken = take(stream); taken.status == Stream::Pulled::kItem; taken = take(stream)) {
    ids.push_back(taken.item.id);
  }
  EXPECT_EQ(ids, (std::vector<std::int64_t>{0, 8, 9}));
}

TEST(Stream, GoesOnAfterAFrameThatFailed) {
  Stream stream(
      [](const Picture& frame) {
        if (frame.data[0] == 1) throw InputError("this one is wrong.");
        if (frame.data[0] == 2) throw std::runtime_error("odd");
        if (frame.data[0] == 3) throw 3;
        return brighter(frame);
      },
      5, false);
  for (std::uint8_t i = 0; i < 5; ++i) stream.push(marked(i), i, -1);
  EXPECT_EQ(take(stream).item.fault, 0);
  const Taken wrong = take(stream), odd = take(stream);
  EXPECT_EQ(wrong.item.fault, 2);
  EXPECT_EQ(wrong.item.message, "this one is wrong.");
  EXPECT_EQ(wrong.item.id, 1);
  EXPECT_EQ(odd.item.fault, 1);
  EXPECT_EQ(odd.item.message, "odd");
  EXPECT_EQ(take(stream).item.message, "the computation failed for an unknown reason.");
  EXPECT_EQ(take(stream).item.picture.data[0], 5);
}

TEST(Stream, TimesOutWhereNoneComes) {
  Stream stream(brighter, 1, false);
  EXPECT_EQ(take(stream, 0).status, Stream::Pulled::kTimeout);
  EXPECT_EQ(take(stream, 5).status, Stream::Pulled::kTimeout);
}

TEST(Stream, LeavesAnAnswerThatWasOnlyLookedAt) {
  Stream stream(brighter, 1, false);
  stream.push(marked(5), 7, -1);
  for (int i = 0; i < 2; ++i) {
    EXPECT_EQ(stream.pull([](const Stream::Item& item) { return item.id != 7; }, -1),
              Stream::Pulled::kItem);
  }
  EXPECT_EQ(take(stream, 0).item.picture.data[0], 6);
}

TEST(Stream, TakesNothingAfterItsEnd) {
  Stream stream(brighter, 1, false);
  stream.finish();
  EXPECT_EQ(sentence_of([&] { stream.push(marked(0), 0, -1); }),
            "the stream was finished and takes no more frames; open another.");
  EXPECT_EQ(take(stream).status, Stream::Pulled::kEnd);
}

TEST(Stream, FinishWakesWhoWaits) {
  Stream stream(brighter, 1, false);
  auto pulling = std::async(std::launch::async, [&] { return take(stream).status; });
  std::this_thread::sleep_for(10ms);
  stream.finish();
  EXPECT_EQ(pulling.get(), Stream::Pulled::kEnd);
}

TEST(Stream, ClosesWithWorkLeft) {
  for (int i = 0; i < 20; ++i) {
    Stream stream(brighter, 2, true);
    for (std::uint8_t frame = 0; frame < 5; ++frame) stream.push(marked(frame), frame, -1);
  }
}

}  // namespace
}  // namespace lavin::core
