// Arrays from .npy files of versions 1 to 3, little-endian numbers only.
#pragma once

#include <string>
#include <string_view>

#include "base/array.h"

namespace lavin::core {

// The array in the bytes of a .npy file; `where` names it in messages.
Array parse_npy(std::string_view content, const std::string& where);

}  // namespace lavin::core
