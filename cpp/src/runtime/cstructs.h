// The structs of lavin.h, checked and copied. InputError: one cannot be used as given.
#pragma once

#include "backends/choose.h"
#include "lavin/lavin.h"
#include "runtime/answerer.h"
#include "runtime/request.h"

namespace lavin::core {

// A pointer that must not be NULL.
void require(const void* pointer, const char* name);

BackendChoice read_options(const lavin_options* options);               // NULL: the defaults
lavin_stream_options read_stream_options(const lavin_stream_options*);  // likewise
Request read_request(const lavin_request* request);

// Whether an image has data.
bool has_data(const lavin_image* image);
// An image with its stride in bytes; data may be NULL.
lavin_image read_image(const lavin_image* image);
// A copy of an image's pixels.
Picture read_picture(const lavin_image* image);
// The image can take an answer of that size.
void require_size(const lavin_image& out, Size size);
void write_picture(const Picture& picture, const lavin_image& out);

lavin_result read_result(const lavin_result* result);
// Point at an answer, which is kept for the calling thread.
void write_result(Answer answer, lavin_result* result);

}  // namespace lavin::core
