// A picture turned and mirrored as EXIF's orientations say.
#pragma once

#include "lavin/lavin.hpp"

// The picture by an orientation of 1 to 8; 1 leaves it as it is.
lavin::Picture upright(const lavin::Picture& picture, int orientation);
