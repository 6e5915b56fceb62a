// Frames of a Video4Linux camera as RGB, by the kernel's interface alone.
#ifndef LAVIN_EXAMPLES_V4L2_CAMERA_HPP
#define LAVIN_EXAMPLES_V4L2_CAMERA_HPP

#include <fcntl.h>
#include <linux/videodev2.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <stdexcept>
#include <string>
#include <vector>

// YUYV (two pixels in four bytes, BT.601, luma 16 to 235) to RGB; width is even. Strides in bytes.
inline void yuyv_to_rgb(const std::uint8_t* yuyv, std::size_t stride, std::uint32_t width,
                        std::uint32_t height, std::uint8_t* rgb) {
  const auto byte = [](int value) {
    return static_cast<std::uint8_t>(std::clamp((value + 128) >> 8, 0, 255));
  };
  for (std::uint32_t y = 0; y < height; ++y, yuyv += stride) {
    for (std::uint32_t x = 0; x < width; ++x, rgb += 3) {
      const std::uint8_t* two = yuyv + 4 * std::size_t{x / 2};
      const int luma = 298 * (two[2 * (x % 2)] - 16), u = two[1] - 128, v = two[3] - 128;
      rgb[0] = byte(luma + 409 * v);
      rgb[1] = byte(luma - 100 * u - 208 * v);
      rgb[2] = byte(luma + 516 * u);
    }
  }
}

// A camera that gives YUYV. What it cannot do throws std::runtime_error with a sentence.
class V4l2Camera {
 public:
  // Asks for a size; the driver may choose another one, see width() and height().
  V4l2Camera(const std::string& path, std::uint32_t width, std::uint32_t height) : path_(path) {
    file_ = open(path.c_str(), O_RDWR | O_NONBLOCK | O_CLOEXEC);
    if (file_ < 0) fail("cannot be opened");
    try {
      choose_format(width, height);
      map_buffers();
      int type = V4L2_BUF_TYPE_VIDEO_CAPTURE;
      if (call(VIDIOC_STREAMON, &type) != 0) fail("does not start to stream");
    } catch (...) {
      release();
      throw;
    }
  }
  V4l2Camera(const V4l2Camera&) = delete;
  V4l2Camera& operator=(const V4l2Camera&) = delete;
  ~V4l2Camera() { release(); }

  std::uint32_t width() const { return width_; }
  std::uint32_t height() const { return height_; }

  // The next whole frame, 3 * width * height bytes; false: none came within a second.
  bool read(std::vector<std::uint8_t>& rgb) {
    pollfd ready{file_, POLLIN, 0};
    const int found = poll(&ready, 1, 1000);
    if (found < 0 && errno != EINTR) fail("cannot be waited for");
    if (found <= 0) return false;
    v4l2_buffer buffer = described(0);
    if (call(VIDIOC_DQBUF, &buffer) != 0) {
      if (errno == EAGAIN) return false;
      fail("gives no frame");
    }
    const bool whole = !(buffer.flags & V4L2_BUF_FLAG_ERROR) && buffer.bytesused >= frame_bytes();
    if (whole) {
      rgb.resize(std::size_t{3} * width_ * height_);
      yuyv_to_rgb(buffers_.at(buffer.index).data, stride_, width_, height_, rgb.data());
    }
    if (call(VIDIOC_QBUF, &buffer) != 0) fail("does not take its buffer back");
    return whole;
  }

 private:
  struct Buffer {
    std::uint8_t* data;
    std::size_t size;
  };

  [[noreturn]] void fail(const std::string& what) const {
    throw std::runtime_error("camera " + path_ + " " + what + ": " + std::strerror(errno));
  }

  int call(unsigned long request, void* argument) const {
    int status = 0;
    do {
      status = ioctl(file_, request, argument);
    } while (status != 0 && errno == EINTR);
    return status;
  }

  static v4l2_buffer described(std::uint32_t index) {
    v4l2_buffer buffer{};
    buffer.index = index;
    buffer.type = V4L2_BUF_TYPE_VIDEO_CAPTURE;
    buffer.memory = V4L2_MEMORY_MMAP;
    return buffer;
  }

  // Bytes from the first to the last pixel.
  std::size_t frame_bytes() const {
    return stride_ * (std::size_t{height_} - 1) + std::size_t{2} * width_;
  }

  void choose_format(std::uint32_t width, std::uint32_t height) {
    v4l2_format format{};
    format.type = V4L2_BUF_TYPE_VIDEO_CAPTURE;
    format.fmt.pix.width = width;
    format.fmt.pix.height = height;
    format.fmt.pix.pixelformat = V4L2_PIX_FMT_YUYV;
    format.fmt.pix.field = V4L2_FIELD_NONE;
    if (call(VIDIOC_S_FMT, &format) != 0) fail("takes no format");
    const v4l2_pix_format& given = format.fmt.pix;
    if (given.pixelformat != V4L2_PIX_FMT_YUYV || given.width < 2 || given.width % 2 != 0 ||
        given.height < 1) {
      throw std::runtime_error("camera " + path_ + " gives no YUYV; use one that does");
    }
    width_ = given.width;
    height_ = given.height;
    stride_ = std::max(std::size_t{given.bytesperline}, std::size_t{2} * given.width);
  }

  void map_buffers() {
    v4l2_requestbuffers request{};
    request.count = 4;
    request.type = V4L2_BUF_TYPE_VIDEO_CAPTURE;
    request.memory = V4L2_MEMORY_MMAP;
    if (call(VIDIOC_REQBUFS, &request) != 0 || request.count == 0) fail("has no buffers");
    for (std::uint32_t index = 0; index < request.count; ++index) {
      v4l2_buffer buffer = described(index);
      if (call(VIDIOC_QUERYBUF, &buffer) != 0) fail("does not describe its buffers");
      if (buffer.length < frame_bytes()) {
        throw std::runtime_error("camera " + path_ + " has buffers smaller than its frames");
      }
      void* data = mmap(nullptr, buffer.length, PROT_READ, MAP_SHARED, file_, buffer.m.offset);
      if (data == MAP_FAILED) fail("does not map its buffers");
      buffers_.push_back({static_cast<std::uint8_t*>(data), buffer.length});
      if (call(VIDIOC_QBUF, &buffer) != 0) fail("does not take a buffer");
    }
  }

  // Closing stops the stream; the kernel frees its buffers when they are no longer mapped.
  void release() {
    for (const Buffer& buffer : buffers_) munmap(buffer.data, buffer.size);
    close(file_);
  }

  std::string path_;
  int file_ = -1;
  std::uint32_t width_ = 0, height_ = 0;
  std::size_t stride_ = 0;
  std::vector<Buffer> buffers_;
};

#endif
