# What `cmake --install` and `cpack` take along. Included where the targets exist.
include(CMakePackageConfigHelpers)
set(lavin_config_folder ${CMAKE_INSTALL_LIBDIR}/cmake/lavin)
set(lavin_generated_folder ${CMAKE_CURRENT_BINARY_DIR}/generated)

# Two exports, so that a copy without the archive is found as well.
set_target_properties(lavin_static PROPERTIES EXPORT_NAME static)
install(TARGETS lavin EXPORT lavinTargets
  LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR}
  INCLUDES DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
install(TARGETS lavin_static EXPORT lavinStaticTargets
  ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR}
  INCLUDES DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
# The program finds the library beside it, wherever both are moved.
file(RELATIVE_PATH lavin_bin_to_lib ${CMAKE_INSTALL_FULL_BINDIR} ${CMAKE_INSTALL_FULL_LIBDIR})
set_target_properties(lavin_cli PROPERTIES INSTALL_RPATH "$ORIGIN/${lavin_bin_to_lib}")
install(TARGETS lavin_cli RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
install(DIRECTORY ${PROJECT_SOURCE_DIR}/include/lavin DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
foreach(export lavinTargets lavinStaticTargets)
  install(EXPORT ${export} NAMESPACE lavin:: DESTINATION ${lavin_config_folder})
endforeach()

configure_package_config_file(
  ${CMAKE_CURRENT_LIST_DIR}/lavinConfig.cmake.in ${lavin_generated_folder}/lavinConfig.cmake
  INSTALL_DESTINATION ${lavin_config_folder} NO_SET_AND_CHECK_MACRO)
write_basic_package_version_file(
  ${lavin_generated_folder}/lavinConfigVersion.cmake COMPATIBILITY SameMajorVersion)
install(FILES
  ${lavin_generated_folder}/lavinConfig.cmake ${lavin_generated_folder}/lavinConfigVersion.cmake
  DESTINATION ${lavin_config_folder})

# pkg-config: the prefix is relative to the file, so that an installed tree can be moved.
if(NOT PROJECT_DESCRIPTION)
  set(PROJECT_DESCRIPTION "LaVin-DiT on a device: vision tasks from example pairs")
endif()
file(RELATIVE_PATH LAVIN_PC_TO_PREFIX
  ${CMAKE_INSTALL_FULL_LIBDIR}/pkgconfig ${CMAKE_INSTALL_PREFIX})
string(REGEX REPLACE "/$" "" LAVIN_PC_TO_PREFIX "${LAVIN_PC_TO_PREFIX}")
cmake_path(APPEND LAVIN_PC_LIBDIR "\${prefix}" ${CMAKE_INSTALL_LIBDIR})
cmake_path(APPEND LAVIN_PC_INCLUDEDIR "\${prefix}" ${CMAKE_INSTALL_INCLUDEDIR})
configure_file(${CMAKE_CURRENT_LIST_DIR}/lavin.pc.in ${lavin_generated_folder}/lavin.pc @ONLY)
install(FILES ${lavin_generated_folder}/lavin.pc
  DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)

set(lavin_license ${PROJECT_SOURCE_DIR}/../LICENSE)
if(EXISTS ${lavin_license})
  install(FILES ${lavin_license} DESTINATION ${CMAKE_INSTALL_DOCDIR} RENAME copyright)
endif()

# One Debian package of all of it; cpack needs no root. Debian's folders for an architecture are
# taken when the build is configured with -DCMAKE_INSTALL_PREFIX=/usr.
if(NOT PROJECT_IS_TOP_LEVEL)
  return()
endif()
set(CPACK_GENERATOR DEB)
set(CPACK_PACKAGE_NAME lavin)
set(CPACK_PACKAGE_VENDOR "The lavin_deploy authors")
set(CPACK_PACKAGE_CONTACT "The lavin_deploy authors <lavin-deploy@users.noreply.github.com>")
set(CPACK_PACKAGE_VERSION ${PROJECT_VERSION})
set(CPACK_PACKAGE_DESCRIPTION_SUMMARY ${PROJECT_DESCRIPTION})
set(CPACK_DEBIAN_PACKAGE_DESCRIPTION
  "C and C++ runtime that answers pictures and camera streams by a LaVin-DiT bundle: library,
headers and command line. It loads ONNX Runtime when a bundle is opened; that library is not part of
this package.")
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_PACKAGE_SECTION libs)
set(CPACK_PACKAGING_INSTALL_PREFIX /usr)
set(CPACK_STRIP_FILES ON)
set(CPACK_DEBIAN_PACKAGE_GENERATE_SHLIBS ON)
find_program(LAVIN_SHLIBDEPS dpkg-shlibdeps)
mark_as_advanced(LAVIN_SHLIBDEPS)
if(LAVIN_SHLIBDEPS AND NOT CMAKE_CROSSCOMPILING)
  set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS ON)
  set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS_PRIVATE_DIRS ${CMAKE_CURRENT_BINARY_DIR})
else()
  # Another architecture's libraries are not here to be looked at.
  set(CPACK_DEBIAN_PACKAGE_DEPENDS "libc6 (>= 2.34), libgcc-s1, libstdc++6 (>= 12)")
endif()
if(CMAKE_CROSSCOMPILING AND CMAKE_SYSTEM_PROCESSOR STREQUAL "aarch64")
  set(CPACK_DEBIAN_PACKAGE_ARCHITECTURE arm64)
endif()
include(CPack)
