# Unpacks tests/data/*.tar.xz into the build folder, once for all trees: FATHOM_TEST_DATA.
set(FATHOM_TEST_DATA "${CMAKE_SOURCE_DIR}/build/test-data" CACHE PATH
    "Where the packed test data is unpacked")
file(GLOB packed CONFIGURE_DEPENDS "${CMAKE_SOURCE_DIR}/tests/data/*.tar.xz")
set(stamps)
foreach(archive IN LISTS packed)
  get_filename_component(stem "${archive}" NAME)
  set(stamp "${CMAKE_BINARY_DIR}/test-data-${stem}.stamp")
  add_custom_command(
    OUTPUT "${stamp}"
    COMMAND "${CMAKE_COMMAND}" -E make_directory "${FATHOM_TEST_DATA}"
    COMMAND "${CMAKE_COMMAND}" -E chdir "${FATHOM_TEST_DATA}" "${CMAKE_COMMAND}" -E tar xf "${archive}"
    COMMAND "${CMAKE_COMMAND}" -E touch "${stamp}"
    DEPENDS "${archive}" COMMENT "Unpacking ${stem}" VERBATIM)
  list(APPEND stamps "${stamp}")
endforeach()
add_custom_target(fathom_test_data DEPENDS ${stamps})
