// The C ABI: errors become a status and a sentence.
#include <memory>
#include <new>
#include <string>

#include "base/errors.h"
#include "lavin/lavin.h"
#include "runtime/cstructs.h"
#include "runtime/model.h"
#include "runtime/stream.h"

namespace core = lavin::core;
using core::require;

struct lavin_model {
  core::Model model;
};

struct lavin_stream {
  core::Stream stream;
};

namespace {

std::string& last_error() {
  thread_local std::string message;
  return message;
}

lavin_status fail(int code, const char* message) noexcept {
  try {
    last_error() = message;
  } catch (...) {
    last_error().clear();  // there is no memory for a sentence either
  }
  return static_cast<lavin_status>(code);
}

// Run `work`, which may throw and returns a status.
template <typename Work>
lavin_status guarded(Work work) noexcept {
  try {
    return work();
  } catch (const core::Error& error) {
    return fail(error.code(), error.what());
  } catch (const std::bad_alloc&) {
    return fail(LAVIN_FAILED, "there is not enough memory; close other models or pictures.");
  } catch (const std::exception& error) {
    return fail(LAVIN_FAILED, error.what());
  } catch (...) {
    return fail(LAVIN_FAILED, "the computation failed for an unknown reason.");
  }
}

}  // namespace

extern "C" {

const char* lavin_version(void) {
  return LAVIN_VERSION;
}

const char* lavin_last_error(const lavin_model*) {
  return last_error().c_str();
}

lavin_status lavin_load(const char* path, const lavin_options* options, lavin_model** model) {
  if (model != nullptr) *model = nullptr;
  return guarded([&] {
    require(model, "model");
    require(path, "path");
    *model = new lavin_model{{path, core::read_options(options)}};
    return LAVIN_OK;
  });
}

void lavin_free(lavin_model* model) {
  delete model;
}

const char* lavin_describe(const lavin_model* model) {
  return model == nullptr ? "" : model->model.description().c_str();
}

const char* lavin_manifest(const lavin_model* model) {
  return model == nullptr ? "" : model->model.bundle().manifest_text().c_str();
}

const char* lavin_task_name(const lavin_model* model, size_t index) {
  if (model == nullptr) return nullptr;
  const auto& tasks = model->model.bundle().manifest().tasks;
  return index < tasks.size() ? tasks[index].name.c_str() : nullptr;
}

lavin_status lavin_run(lavin_model* model, const char* task, const lavin_image* in,
                       lavin_image* out) {
  lavin_request request{};
  request.struct_size = sizeof request;
  request.task = task;
  return lavin_run_request(model, &request, in, out, nullptr);
}

lavin_status lavin_run_request(lavin_model* model, const lavin_request* request,
                               const lavin_image* in, lavin_image* out, lavin_result* result) {
  return guarded([&] {
    require(model, "model");
    core::Request asked = core::read_request(request);
    const core::Picture frame = core::read_picture(in);
    const lavin_image target = core::read_image(out);
    core::require_size(target, frame.size());
    if (result != nullptr) core::read_result(result);
    core::Answer answer = [&] {
      const auto lock = model->model.lock();
      return model->model.run(std::move(asked), frame);
    }();
    core::write_picture(answer.image, target);
    if (result != nullptr) core::write_result(std::move(answer), result);
    return LAVIN_OK;
  });
}

lavin_status lavin_stream_open(lavin_model* model, const lavin_request* request,
                               const lavin_stream_options* options, lavin_stream** stream) {
  if (stream != nullptr) *stream = nullptr;
  return guarded([&] {
    require(stream, "stream");
    require(model, "model");
    const lavin_stream_options fields = core::read_stream_options(options);
    const core::Request asked = core::read_request(request);
    core::Model& shared = model->model;
    // The answerer is made and ends under the model's lock: on a device it owns memory there.
    const auto end = [&shared](core::Answerer* fresh) {
      const auto lock = shared.lock();
      delete fresh;
    };
    std::unique_ptr<core::Answerer> fresh;
    {
      const auto lock = shared.lock();
      fresh = shared.answerer(asked);
    }
    const std::shared_ptr<core::Answerer> answerer(fresh.release(), end);
    const auto work = [&shared, answerer](const core::Picture& frame) {
      const auto held = shared.lock();
      return std::move(answerer->answer(frame).image);
    };
    *stream = new lavin_stream{{work, fields.capacity, fields.drop != 0}};
    return LAVIN_OK;
  });
}

lavin_status lavin_stream_push(lavin_stream* stream, const lavin_image* in, int64_t id,
                               int32_t timeout_ms) {
  return guarded([&] {
    require(stream, "stream");
    return stream->stream.push(core::read_picture(in), id, timeout_ms) ? LAVIN_OK : LAVIN_TIMEOUT;
  });
}

lavin_status lavin_stream_pull(lavin_stream* stream, lavin_image* out, int64_t* id,
                               int32_t timeout_ms) {
  return guarded([&] {
    require(stream, "stream");
    const bool looks = !core::has_data(out);
    lavin_status status = LAVIN_OK;
    const auto take = [&](const core::Stream::Item& item) {
      if (id != nullptr) *id = item.id;
      if (item.fault != 0) {
        fail(item.fault, item.message.c_str());
        status = LAVIN_FRAME_FAILED;
        return true;
      }
      if (!looks) {
        const lavin_image target = core::read_image(out);
        core::require_size(target, item.picture.size());
        core::write_picture(item.picture, target);
        return true;
      }
      out->width = static_cast<std::uint32_t>(item.picture.width);
      out->height = static_cast<std::uint32_t>(item.picture.height);
      out->stride = 0;
      return false;
    };
    switch (stream->stream.pull(take, timeout_ms)) {
      case core::Stream::Pulled::kTimeout:
        return LAVIN_TIMEOUT;
      case core::Stream::Pulled::kEnd:
        return LAVIN_END;
      default:
        return status;
    }
  });
}

void lavin_stream_finish(lavin_stream* stream) {
  if (stream != nullptr) stream->stream.finish();
}

uint64_t lavin_stream_dropped(const lavin_stream* stream) {
  return stream == nullptr ? 0 : stream->stream.dropped();
}

void lavin_stream_close(lavin_stream* stream) {
  delete stream;
}

}  // extern "C"
