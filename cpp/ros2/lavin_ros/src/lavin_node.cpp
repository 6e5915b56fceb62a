// A component node: pictures of image_raw, answered by a task of a bundle, on image_lavin.
//
// The subscription hands every picture to a stream that drops old ones, so that it never waits for
// the model; a thread takes the answers and publishes each with its picture's header.
#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "lavin/lavin.hpp"
#include "rclcpp/rclcpp.hpp"
#include "rclcpp_components/register_node_macro.hpp"
#include "sensor_msgs/image_encodings.hpp"
#include "sensor_msgs/msg/image.hpp"
#include "std_msgs/msg/header.hpp"

namespace lavin_ros {

namespace encodings = sensor_msgs::image_encodings;
using sensor_msgs::msg::Image;

constexpr int kQuietMilliseconds = 5000;  // between two equal complaints

// Headers of the pictures that are on their way, by the id that the stream was given.
class Headers {
 public:
  std::int64_t keep(const std_msgs::msg::Header& header) {
    const std::lock_guard<std::mutex> lock(mutex_);
    headers_.emplace(next_, header);
    if (headers_.size() > kMost) headers_.erase(headers_.begin());
    return next_++;
  }

  // Answers keep the order of the pictures: what is older was dropped or failed, and is forgotten.
  std::optional<std_msgs::msg::Header> take(std::int64_t id) {
    const std::lock_guard<std::mutex> lock(mutex_);
    headers_.erase(headers_.begin(), headers_.lower_bound(id));
    if (headers_.empty() || headers_.begin()->first != id) return std::nullopt;
    auto header = std::move(headers_.begin()->second);
    headers_.erase(headers_.begin());
    return header;
  }

 private:
  static constexpr std::size_t kMost = 64;  // more than wait in a stream
  std::mutex mutex_;
  std::map<std::int64_t, std_msgs::msg::Header> headers_;
  std::int64_t next_ = 0;
};

class LavinNode : public rclcpp::Node {
 public:
  // Throws lavin::Error where the bundle or the task cannot be used.
  explicit LavinNode(const rclcpp::NodeOptions& options) : Node("lavin", options) {
    const auto bundle = declare_parameter<std::string>("bundle", "");
    lavin::Request request(declare_parameter<std::string>("task", ""));
    request.steps = static_cast<int>(declare_parameter<std::int64_t>("steps", 0));
    lavin::Options how;
    how.backend = declare_parameter<std::string>("backend", "");
    how.threads = static_cast<int>(declare_parameter<std::int64_t>("threads", 0));
    if (bundle.empty() || request.task.empty()) {
      throw std::invalid_argument("lavin: set the parameters bundle (a path) and task (a name)");
    }

    model_ = std::make_unique<lavin::Model>(bundle, how);
    stream_ = std::make_unique<lavin::Stream>(*model_, request, 0, true);
    RCLCPP_INFO(get_logger(), "%s", model_->describe().c_str());

    // Reliable: subscribers of both kinds can take it.
    publisher_ = create_publisher<Image>("image_lavin", rclcpp::QoS(5));
    subscription_ =
        create_subscription<Image>("image_raw", rclcpp::SensorDataQoS(),
                                   [this](Image::ConstSharedPtr image) { push(*image); });
    thread_ = std::thread([this] { publish_answers(); });
  }

  ~LavinNode() override {
    stop_ = true;
    if (thread_.joinable()) thread_.join();
  }

 private:
  void push(const Image& image) {
    const bool bgr = image.encoding == encodings::BGR8;
    if (!bgr && image.encoding != encodings::RGB8) {
      complain("pictures of encoding '" + image.encoding + "' are not taken; send rgb8 or bgr8");
      return;
    }
    const std::size_t row = std::size_t{3} * image.width;
    if (image.width == 0 || image.height == 0 || image.step < row ||
        image.data.size() < std::size_t{image.step} * (image.height - 1) + row) {
      complain("a picture's width, height, step and data do not fit together; it is left out");
      return;
    }
    lavin::View view(image.data.data(), image.width, image.height, image.step);
    if (bgr) {
      swap_red_and_blue(image);
      view = lavin::View(swapped_.data(), image.width, image.height);
    }
    try {
      stream_->push(view, headers_.keep(image.header));
    } catch (const lavin::Error& error) {
      complain(error.what());
    }
  }

  void swap_red_and_blue(const Image& image) {
    swapped_.resize(std::size_t{3} * image.width * image.height);
    std::uint8_t* to = swapped_.data();
    for (std::uint32_t y = 0; y < image.height; ++y) {
      const std::uint8_t* from = image.data.data() + std::size_t{image.step} * y;
      for (std::uint32_t x = 0; x < image.width; ++x, from += 3, to += 3) {
        to[0] = from[2];
        to[1] = from[1];
        to[2] = from[0];
      }
    }
  }

  // Looks every 100 ms whether the node is to stop.
  void publish_answers() {
    while (!stop_ && !stream_->finished()) {
      try {
        if (const auto answer = stream_->pull(100)) publish(*answer);
      } catch (const std::exception& error) {  // e.g. no memory for this one
        complain(error.what());
      }
    }
  }

  void publish(const lavin::Answer& answer) {
    auto header = headers_.take(answer.id);
    if (!header) {
      complain("an answer came too late for its header and is left out");
      return;
    }
    if (!answer.error.empty()) {  // later ones may not fail
      complain(answer.error);
      return;
    }
    auto image = std::make_unique<Image>();
    image->header = std::move(*header);
    image->width = answer.image.width();
    image->height = answer.image.height();
    image->encoding = encodings::RGB8;
    image->is_bigendian = 0;
    image->step = 3 * image->width;
    image->data.assign(answer.image.data(), answer.image.data() + answer.image.size());
    publisher_->publish(std::move(image));
  }

  void complain(const std::string& sentence) {
    RCLCPP_ERROR_THROTTLE(get_logger(), *get_clock(), kQuietMilliseconds, "%s", sentence.c_str());
  }

  // The stream looks at the model and the thread at the stream: they end in the opposite order.
  std::unique_ptr<lavin::Model> model_;
  std::unique_ptr<lavin::Stream> stream_;
  Headers headers_;
  std::vector<std::uint8_t> swapped_;
  rclcpp::Publisher<Image>::SharedPtr publisher_;
  rclcpp::Subscription<Image>::SharedPtr subscription_;
  std::atomic<bool> stop_{false};
  std::thread thread_;
};

}  // namespace lavin_ros

RCLCPP_COMPONENTS_REGISTER_NODE(lavin_ros::LavinNode)
