// Texts and streams in the chunks of a PNG.
#pragma once

#include <string>
#include <vector>

#include "file_parts.h"

// The text of the last tEXt, zTXt or iTXt chunk of a name; empty where there is none.
std::string png_text(const std::vector<Part>& parts, const std::string& name);

// What a stream of zlib's holds; {1} where it is damaged or of more than 16 MiB.
Bytes inflated(const unsigned char* data, std::size_t size);
