/*
 * LaVin-DiT on a device: open a bundle, answer pictures and camera streams. C99 and later.
 *
 *     lavin_model *model = NULL;
 *     lavin_request request = {sizeof request, "segmentation"};
 *     if (lavin_load("edge.lavin", NULL, &model) != LAVIN_OK ||
 *         lavin_run_request(model, &request, &frame, &answer, NULL) != LAVIN_OK)
 *         fprintf(stderr, "%s\n", lavin_last_error(model));
 *     lavin_free(model);
 *
 * Rules that hold for every function:
 * - A struct begins with struct_size, which the caller sets to sizeof of it. Fields that are zero
 *   mean "the default"; later versions append fields, and take structs of earlier versions.
 * - Strings are UTF-8 and end with a zero byte. What a caller passes in stays the caller's and is
 *   not read any more after the call returns, unless a comment says otherwise.
 * - Nothing throws, nothing exits, nothing is printed. A status other than LAVIN_OK has a sentence
 *   in lavin_last_error.
 * - Any number of models may be used at once, by any threads. Calls on one model run one after the
 *   other; threads that are to work side by side load a model each.
 */
#ifndef LAVIN_LAVIN_H
#define LAVIN_LAVIN_H

#include <stddef.h>
#include <stdint.h>

#if defined(__GNUC__)
#define LAVIN_API __attribute__((visibility("default")))
#else
#define LAVIN_API
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* What a function returns; the numbers are the exit codes of the command line. */
typedef enum lavin_status {
  LAVIN_OK = 0,
  LAVIN_FAILED = 1,      /* the request was right, but the work failed: a device, a disk, memory */
  LAVIN_INVALID = 2,     /* an argument, a picture or the bundle cannot be used as given */
  LAVIN_END = 3,         /* of streams: no further answer comes; no error */
  LAVIN_TIMEOUT = 4,     /* of streams: none came, or no room was made, in that time; no error */
  LAVIN_FRAME_FAILED = 5 /* of streams: this frame has no answer; later ones may have */
} lavin_status;

/* An open bundle, ready to run. */
typedef struct lavin_model lavin_model;

/* Frames that go in and answers that come out, in order, with a worker thread between. */
typedef struct lavin_stream lavin_stream;

/* How to open a bundle. */
typedef struct lavin_options {
  size_t struct_size;
  const char* backend;   /* "auto" (NULL), "onnxruntime" or "tensorrt" */
  const char* precision; /* of the variant to run, e.g. "fp32"; NULL: the bundle's default */
  const char* dialect;   /* "native" or "portable"; NULL: the first that the back end runs */
  int32_t threads;       /* worker threads of CPU back ends, at most 256; 0: the physical cores */
  const char* library;   /* file of ONNX Runtime's shared library; NULL: the environment variable
                            LAVIN_ONNXRUNTIME, else libonnxruntime.so where the system finds it */
} lavin_options;

/* A picture: 8-bit RGB, rows from the top, pixels from the left. Other structs hold it, so that it
 * is the one struct that never grows. */
typedef struct lavin_image {
  size_t struct_size;
  uint32_t width;  /* pixels, at least 1 */
  uint32_t height; /* pixels, at least 1 */
  size_t stride;   /* bytes from one row to the next; 0: 3 * width */
  uint8_t* data;   /* the caller's: read of a picture that goes in (never written), written of one
                      that comes out */
} lavin_image;

/* An example pair: two pictures of one size. */
typedef struct lavin_pair {
  lavin_image input;
  lavin_image target;
} lavin_pair;

/* What to do: a stored task, or example pairs, and how to sample. */
typedef struct lavin_request {
  size_t struct_size;
  const char* task;        /* name of a stored task; NULL with pairs */
  const lavin_pair* pairs; /* example pairs instead of a task; NULL with a task */
  size_t pair_count;       /* of pairs */
  int32_t steps;           /* model evaluations; 0: the task's, else the bundle's default */
  int32_t has_guidance;    /* not 0: take guidance below; 0: the task's, else the bundle's */
  double guidance;         /* weight, 1 for none */
  uint64_t seed;           /* of the noise */
  const float* noise;      /* (1, channels, 1, h/8, w/8) in C order, replaces the seeded draw */
  size_t noise_count;      /* floats in noise */
  int32_t num_pairs;       /* use the first so many pairs; 0 chooses */
  uint32_t width;          /* pixels, size of the bundle to run at; 0: what fits the frame best */
  uint32_t height;         /* likewise; both or neither */
  uint32_t reserved;       /* 0 */
} lavin_request;

/* What lavin_run_request tells beside the answer; all of it is set by the call. What it points to
 * is the library's and stays until the calling thread's next lavin_run_request with a result, or
 * until that thread ends. */
typedef struct lavin_result {
  size_t struct_size;
  lavin_image target;   /* the answer as the model made it, in the bundle's size */
  const float* latents; /* (1, channels, 1, h/8, w/8) in C order, scaled */
  size_t latents_count; /* floats in latents */
  double seconds[6];    /* setup, preprocess, encode, sample, decode, postprocess */
  int32_t pairs;        /* example pairs that were used, the first ones */
  uint32_t reserved;    /* 0 */
} lavin_result;

/* How a stream queues. */
typedef struct lavin_stream_options {
  size_t struct_size;
  uint32_t capacity; /* frames that wait at most, and answers that wait at most; 0: 2 */
  int32_t drop;      /* 0: push waits for room; else the oldest waiting frame makes room, as a
                        camera wants it */
} lavin_stream_options;

/* Version of the library, "MAJOR.MINOR.PATCH"; static. */
LAVIN_API const char* lavin_version(void);

/* The sentence of the last call that failed in the calling thread: what was given, what is
 * accepted, what to do. It stays valid until the thread's next failure or its end. model may be
 * NULL; "" before any. */
LAVIN_API const char* lavin_last_error(const lavin_model* model);

/* Open a bundle (a folder NAME.lavin or a stored zip of one), verify all of it and choose the back
 * end; graphs are loaded by the first request that needs them, which takes longer than those after.
 * options may be NULL. On success *model is set, to be freed with lavin_free; else it is NULL. */
LAVIN_API lavin_status lavin_load(const char* path, const lavin_options* options,
                                  lavin_model** model);

/* Close a model; its streams must be closed before, and no call on it be running. NULL does
 * nothing. */
LAVIN_API void lavin_free(lavin_model* model);

/* Library, version, device and threads of the back end, in one line; the model's. */
LAVIN_API const char* lavin_describe(const lavin_model* model);

/* The manifest of the bundle as JSON text; the model's. */
LAVIN_API const char* lavin_manifest(const lavin_model* model);

/* Name of the stored task with that index; NULL after the last. The model's. */
LAVIN_API const char* lavin_task_name(const lavin_model* model, size_t index);

/* Answer one picture by a stored task at its defaults and seed 0; see lavin_run_request. */
LAVIN_API lavin_status lavin_run(lavin_model* model, const char* task, const lavin_image* in,
                                 lavin_image* out);

/* Answer one picture. out is in's size and its data the caller's, be it in's own; result may be
 * NULL. What the last four requests computed (context, noise) is kept, and graphs stay loaded, so
 * that a loop of equal requests, or of a few that take turns, computes it once. */
LAVIN_API lavin_status lavin_run_request(lavin_model* model, const lavin_request* request,
                                         const lavin_image* in, lavin_image* out,
                                         lavin_result* result);

/* Open a stream on a model, which must outlive it. The request is copied. options may be NULL.
 * On success *stream is set, to be closed with lavin_stream_close; else it is NULL. */
LAVIN_API lavin_status lavin_stream_open(lavin_model* model, const lavin_request* request,
                                         const lavin_stream_options* options,
                                         lavin_stream** stream);

/* Give a frame, which is copied; id comes back with its answer. Waits for room up to timeout_ms
 * milliseconds (below 0: for as long as it takes) and then returns LAVIN_TIMEOUT; with drop it
 * never waits. */
LAVIN_API lavin_status lavin_stream_push(lavin_stream* stream, const lavin_image* in, int64_t id,
                                         int32_t timeout_ms);

/* Take the next answer, in the order of the frames. Waits as push does. out is the frame's size;
 * with out->data NULL only the sizes and *id of the next answer are told, and it stays. id may be
 * NULL. LAVIN_FRAME_FAILED: the frame with that id failed and is taken, lavin_last_error says why.
 * After any other failure the answer stays.
 * LAVIN_END: lavin_stream_finish was called and all answers were taken. */
LAVIN_API lavin_status lavin_stream_pull(lavin_stream* stream, lavin_image* out, int64_t* id,
                                         int32_t timeout_ms);

/* Say that no further frame comes: a push from now on is LAVIN_INVALID, one that waits too. Frames
 * that were pushed are still answered. */
LAVIN_API void lavin_stream_finish(lavin_stream* stream);

/* Frames that were dropped so far. */
LAVIN_API uint64_t lavin_stream_dropped(const lavin_stream* stream);

/* Stop, dropping what waits, and free. No other thread may be in push or pull, or enter them; one
 * that is to be stopped early waits with a timeout. NULL does nothing. */
LAVIN_API void lavin_stream_close(lavin_stream* stream);

#ifdef __cplusplus
}
#endif

#endif
