// Writes a picture file's pixels, as lavin_cli reads them, to stdout.
#include <cstdio>
#include <exception>

#include "picture_files.h"

int main(int count, char** words) {
  if (count != 2) return 2;
  try {
    const lavin::Picture picture = read_picture_file(words[1]);
    return std::fwrite(picture.data(), 1, picture.size(), stdout) == picture.size() ? 0 : 1;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 2;
  }
}
