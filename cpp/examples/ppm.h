/*
 * Binary PPM pictures (P6, 8 bits a channel) for the examples, in C99 and C++17.
 *
 * Both functions return 1 when it worked; else 0 and a sentence in error. A file may come from
 * anywhere: its size is bounded before memory is taken for it.
 */
#ifndef LAVIN_EXAMPLES_PPM_H
#define LAVIN_EXAMPLES_PPM_H

#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PPM_MAX_SIDE 16384u /* pixels */
#define PPM_ERROR 512       /* bytes of an error's sentence */

/* A picture: 8-bit RGB, rows from the top without gaps; data is from malloc. */
typedef struct ppm_picture {
  uint32_t width, height;
  uint8_t* data;
} ppm_picture;

/* Bytes of the pixels. */
static inline size_t ppm_size(const ppm_picture* picture) {
  return (size_t)3 * picture->width * picture->height;
}

/* The next number of a header, at most limit; 0 where there is none. Takes one byte after it. */
static inline uint32_t ppm_number(FILE* file, uint32_t limit) {
  uint32_t number = 0;
  int byte = getc(file);
  while (byte == ' ' || (byte >= '\t' && byte <= '\r') || byte == '#') {
    if (byte == '#') { /* a comment, to the end of its line */
      while (byte != '\n' && byte != EOF) byte = getc(file);
    } else {
      byte = getc(file);
    }
  }
  for (; byte >= '0' && byte <= '9'; byte = getc(file)) {
    number = 10 * number + (uint32_t)(byte - '0');
    if (number > limit) return 0;
  }
  return byte == ' ' || (byte >= '\t' && byte <= '\r') ? number : 0;
}

/* Read what follows the name of the format; NULL, or what is wrong with it. */
static inline const char* ppm_read_body(FILE* file, ppm_picture* picture) {
  picture->width = ppm_number(file, PPM_MAX_SIDE);
  picture->height = ppm_number(file, PPM_MAX_SIDE);
  if (picture->width == 0 || picture->height == 0) return "its sides are not 1 to 16384 pixels";
  if (ppm_number(file, 255) != 255) return "its channels are not of 8 bits (maximum 255)";
  picture->data = (uint8_t*)malloc(ppm_size(picture));
  if (picture->data == NULL) return "there is no memory for it";
  if (fread(picture->data, 1, ppm_size(picture), file) != ppm_size(picture)) {
    free(picture->data);
    picture->data = NULL;
    return "it ends before its last pixel";
  }
  return NULL;
}

/* Read a picture, whose data the caller frees. */
static inline int ppm_read(const char* path, ppm_picture* picture, char* error, size_t size) {
  const char* problem;
  FILE* file = fopen(path, "rb");
  memset(picture, 0, sizeof *picture);
  if (file == NULL) {
    snprintf(error, size, "cannot open %s: %s", path, strerror(errno));
    return 0;
  }
  if (getc(file) != 'P' || getc(file) != '6') {
    problem = "it does not begin with P6";
  } else {
    problem = ppm_read_body(file, picture);
  }
  fclose(file);
  if (problem == NULL) return 1;
  snprintf(error, size, "cannot read %s: %s; give a binary PPM (P6) picture", path, problem);
  return 0;
}

/* Write a picture, replacing the file. */
static inline int ppm_write(const char* path, const ppm_picture* picture, char* error,
                            size_t size) {
  int written;
  FILE* file = fopen(path, "wb");
  if (file == NULL) {
    snprintf(error, size, "cannot write %s: %s", path, strerror(errno));
    return 0;
  }
  written = fprintf(file, "P6\n%u %u\n255\n", picture->width, picture->height) > 0 &&
            fwrite(picture->data, 1, ppm_size(picture), file) == ppm_size(picture);
  if (fclose(file) != 0) written = 0; /* a full disk may show only here */
  if (!written) snprintf(error, size, "cannot write %s: %s", path, strerror(errno));
  return written;
}

#endif
