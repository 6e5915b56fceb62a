/*
 * Load a bundle, answer a gradient by a task, print the answer's FNV-1a checksum; as ../main.cpp
 * does.
 *
 *     app BUNDLE TASK
 */
#include <inttypes.h>
#include <lavin/lavin.h>
#include <stdio.h>

enum { WIDTH = 96, HEIGHT = 64, SIZE = 3 * WIDTH * HEIGHT };

static void draw_gradient(uint8_t* pixel) {
  uint32_t x, y;
  for (y = 0; y < HEIGHT; y++) {
    for (x = 0; x < WIDTH; x++) {
      *pixel++ = (uint8_t)(x * 255 / 95);
      *pixel++ = (uint8_t)(y * 255 / 63);
      *pixel++ = (uint8_t)(x + y);
    }
  }
}

static uint64_t checksum_of(const uint8_t* bytes, size_t count) {
  uint64_t checksum = UINT64_C(14695981039346656037);
  size_t i;
  for (i = 0; i < count; i++) checksum = (checksum ^ bytes[i]) * UINT64_C(1099511628211);
  return checksum;
}

int main(int argc, char** argv) {
  static uint8_t pixels[SIZE], answer[SIZE];
  lavin_image in = {sizeof in, WIDTH, HEIGHT, 0, pixels};
  lavin_image out = {sizeof out, WIDTH, HEIGHT, 0, answer};
  lavin_model* model = NULL;
  lavin_status status;

  if (argc != 3) {
    fputs("usage: app BUNDLE TASK\n", stderr);
    return LAVIN_INVALID;
  }
  draw_gradient(pixels);
  status = lavin_load(argv[1], NULL, &model);
  if (status == LAVIN_OK) status = lavin_run(model, argv[2], &in, &out);
  if (status == LAVIN_OK) {
    printf("%016" PRIx64 "\n", checksum_of(answer, sizeof answer));
  } else {
    fprintf(stderr, "app: %s\n", lavin_last_error(model));
  }
  lavin_free(model);
  return (int)status;
}
