/*
 * The boundary between liblavin and a module that knows TensorRT.
 *
 * TensorRT's classes are compiled into whoever uses them and differ between its major versions, so
 * liblavin has none of them. It opens a module for one major version (liblavin_tensorrt10.so,
 * liblavin_tensorrt11.so, liblavin_tensorrt_rtx1.so), which opens NVIDIA's library in turn.
 *
 * A module exports one function, lavin_tensorrt_module, which gives a table of functions. No type
 * of NVIDIA appears in it and no exception crosses it. Functions that can fail return a
 * LavinTrtStatus and leave the reason, which may be empty, in `reason`. Before anything but
 * `version` is called, the caller has made sure that there is a GPU and has made it the thread's.
 */
#ifndef LAVIN_TENSORRT_MODULE_H
#define LAVIN_TENSORRT_MODULE_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Changes with every change of the table. */
#define LAVIN_TENSORRT_TABLE 1u
#define LAVIN_TENSORRT_ENTRY "lavin_tensorrt_module"

typedef enum LavinTrtStatus {
  LAVIN_TRT_OK = 0,
  LAVIN_TRT_NO_LIBRARY = 1, /* NVIDIA's library is not there, or of another major version */
  LAVIN_TRT_BAD_PLAN = 2,   /* the library does not load the engine */
  LAVIN_TRT_NO_ROOM = 3,    /* no memory for an engine's context, or for anything else */
  LAVIN_TRT_REFUSED = 4     /* an engine refused to run */
} LavinTrtStatus;

/* Where a function writes its reason, cut to `size` bytes with the zero byte. */
typedef struct LavinTrtReason {
  char* text;
  size_t size;
} LavinTrtReason;

typedef struct LavinTrtRuntime LavinTrtRuntime;
typedef struct LavinTrtEngine LavinTrtEngine;

/* An input or output; the engine's, for as long as it lives. */
typedef struct LavinTrtTensor {
  const char* name;
  const char* dtype; /* numpy's name */
  const int64_t* shape;
  size_t rank;
  int32_t is_input;
} LavinTrtTensor;

typedef struct LavinTrtTable {
  uint32_t version;    /* LAVIN_TENSORRT_TABLE */
  const char* target;  /* "tensorrt" or "tensorrt-rtx" */
  const char* library; /* the file of NVIDIA's library, e.g. "libnvinfer.so.10" */

  /* Open the library and tell its version, "10.3.0.26"; *text is static. */
  LavinTrtStatus (*library_version)(const char** text, LavinTrtReason reason);

  LavinTrtStatus (*open)(LavinTrtRuntime** runtime, LavinTrtReason reason);
  /* After all of its engines. */
  void (*close)(LavinTrtRuntime* runtime);

  /* Make an engine and its context. The plan is not read any more after this. */
  LavinTrtStatus (*load)(LavinTrtRuntime* runtime, const void* plan, size_t size,
                         LavinTrtEngine** engine, LavinTrtReason reason);
  void (*unload)(LavinTrtEngine* engine);
  size_t (*tensor_count)(const LavinTrtEngine* engine);
  LavinTrtTensor (*tensor)(const LavinTrtEngine* engine, size_t index);
  /* Scratch memory on the device that a run needs, and where it is. Engines that run one after
     another may share it. */
  size_t (*scratch_size)(const LavinTrtEngine* engine);
  void (*set_scratch)(LavinTrtEngine* engine, uint64_t address, size_t size);

  /* Queue a run on a CUstream; addresses[i] is that of the tensor names[i]. */
  LavinTrtStatus (*run)(LavinTrtEngine* engine, const char* const* names, const uint64_t* addresses,
                        size_t count, void* stream, LavinTrtReason reason);
} LavinTrtTable;

/* The module's table, static; NULL where it does not have that version of it. */
typedef const LavinTrtTable* (*LavinTrtEntry)(uint32_t version);

#ifdef __cplusplus
}
#endif

#endif
