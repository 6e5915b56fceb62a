/*
 * Answer one picture by a stored task, in plain C99.
 *
 *     c_only BUNDLE                            lists the bundle's tasks
 *     c_only BUNDLE TASK INPUT.ppm ANSWER.ppm  answers a picture
 */
#include <stdio.h>
#include <stdlib.h>

#include "lavin/lavin.h"
#include "ppm.h"

static void list_tasks(const lavin_model* model) {
  const char* name;
  size_t index;
  for (index = 0; (name = lavin_task_name(model, index)) != NULL; index++) puts(name);
}

/* A picture as the library takes it; both share their pixels. */
static lavin_image image_of(const ppm_picture* picture) {
  lavin_image image = {sizeof image, 0, 0, 0, NULL};
  image.width = picture->width;
  image.height = picture->height;
  image.data = picture->data;
  return image;
}

static lavin_status answer(lavin_model* model, const char* task, const char* input,
                           const char* output) {
  char error[PPM_ERROR];
  ppm_picture frame, result;
  lavin_image in, out;
  lavin_status status;

  if (!ppm_read(input, &frame, error, sizeof error)) {
    fprintf(stderr, "c_only: %s\n", error);
    return LAVIN_INVALID;
  }
  result = frame;
  result.data = (uint8_t*)malloc(ppm_size(&frame));
  if (result.data == NULL) {
    fprintf(stderr, "c_only: no memory for an answer of %u x %u\n", frame.width, frame.height);
    free(frame.data);
    return LAVIN_FAILED;
  }
  in = image_of(&frame);
  out = image_of(&result);
  status = lavin_run(model, task, &in, &out);
  if (status != LAVIN_OK) {
    fprintf(stderr, "c_only: %s\n", lavin_last_error(model));
  } else if (!ppm_write(output, &result, error, sizeof error)) {
    fprintf(stderr, "c_only: %s\n", error);
    status = LAVIN_FAILED;
  }
  free(result.data);
  free(frame.data);
  return status;
}

int main(int argc, char** argv) {
  lavin_model* model = NULL;
  lavin_status status;

  if (argc != 2 && argc != 5) {
    fputs("usage: c_only BUNDLE [TASK INPUT.ppm ANSWER.ppm]\n", stderr);
    return LAVIN_INVALID;
  }
  status = lavin_load(argv[1], NULL, &model);
  if (status != LAVIN_OK) {
    fprintf(stderr, "c_only: %s\n", lavin_last_error(NULL));
    return (int)status;
  }
  fprintf(stderr, "%s\n", lavin_describe(model));
  if (argc == 2) {
    list_tasks(model);
  } else {
    status = answer(model, argv[2], argv[3], argv[4]);
  }
  lavin_free(model);
  return (int)status;
}
