# What a layer's CMakeLists.txt calls: fathom_layer, fathom_test, fathom_fuzz.

# fathom_layer(NAME [SOURCES ...] [USES layer ...] [LIBRARIES target ...])
#
# Declares the static library of one layer of src/ as fathom_NAME (alias fathom::NAME). USES names
# the layers it may include from; tools/checks/layers.txt holds the same edges, and
# `./run test` compares the two. LIBRARIES are third-party targets used in source files only.
function(fathom_layer name)
  cmake_parse_arguments(arg "" "" "SOURCES;USES;LIBRARIES" ${ARGN})
  add_library(fathom_${name} STATIC ${arg_SOURCES})
  add_library(fathom::${name} ALIAS fathom_${name})
  target_include_directories(fathom_${name} PUBLIC "${CMAKE_SOURCE_DIR}/src")
  foreach(layer IN LISTS arg_USES)
    target_link_libraries(fathom_${name} PUBLIC fathom::${layer})
  endforeach()
  target_link_libraries(fathom_${name} PRIVATE ${arg_LIBRARIES})
endfunction()

# Everything that the unit tests need and nothing else: what a sanitizer tree builds.
add_custom_target(fathom_unit_tests)
# All fuzz targets.
add_custom_target(fathom_fuzzers)

# fathom_test(NAME SOURCES ... [USES target ...] [LABELS label ...] [DATA] [PYTHON])
#
# One test program from *_test.cc files. DATA hands it the folder of unpacked test data as the
# compile definition FATHOM_TEST_DATA. PYTHON hands it the interpreter that tools/run/python.sh makes
# as FATHOM_PYTHON, and the folder of our scripts for it as FATHOM_CLIENTS. Labels: unit (default; also run under the sanitizers),
# oracle, system. Each run leaves its cases in test-results/NAME.xml of the build folder, which is
# where `./run test` counts them.
function(fathom_test name)
  cmake_parse_arguments(arg "DATA;PYTHON" "" "SOURCES;USES;LABELS" ${ARGN})
  if(NOT FATHOM_TESTS)
    return()
  endif()
  if(NOT arg_LABELS)
    set(arg_LABELS unit)
  endif()
  if(FATHOM_SANITIZE AND NOT "unit" IN_LIST arg_LABELS)
    return()
  endif()
  add_executable(${name} ${arg_SOURCES})
  target_include_directories(${name} PRIVATE "${CMAKE_SOURCE_DIR}/src" "${CMAKE_SOURCE_DIR}/tests")
  target_link_libraries(${name} PRIVATE ${arg_USES} GTest::gmock GTest::gtest_main)
  if(arg_DATA)
    add_dependencies(${name} fathom_test_data)
    target_compile_definitions(${name} PRIVATE FATHOM_TEST_DATA="${FATHOM_TEST_DATA}"
                                               FATHOM_SOURCE_DIR="${CMAKE_SOURCE_DIR}")
  endif()
  if(arg_PYTHON)
    target_compile_definitions(${name} PRIVATE
      FATHOM_PYTHON="${CMAKE_SOURCE_DIR}/build/python/bin/python"
      FATHOM_CLIENTS="${CMAKE_SOURCE_DIR}/tests/clients")
  endif()
  if("unit" IN_LIST arg_LABELS)
    add_dependencies(fathom_unit_tests ${name})
  endif()
  add_test(NAME ${name} COMMAND ${name})
  set_tests_properties(${name} PROPERTIES
    LABELS "${arg_LABELS}" TIMEOUT 1200
    ENVIRONMENT "GTEST_OUTPUT=xml:${CMAKE_BINARY_DIR}/test-results/${name}.xml")
endfunction()

# fathom_fuzz(NAME SOURCES ... [USES target ...])
#
# One libFuzzer program from a *_fuzz.cc file that defines LLVMFuzzerTestOneInput. It is built with
# FATHOM_FUZZ alone, into fuzzers/ of the build folder. Inputs worth keeping are committed under
# tests/fuzz/NAME/; `./run fuzz` and `./run test` start from them.
function(fathom_fuzz name)
  cmake_parse_arguments(arg "" "" "SOURCES;USES" ${ARGN})
  if(NOT FATHOM_FUZZ)
    return()
  endif()
  add_executable(${name} ${arg_SOURCES})
  target_include_directories(${name} PRIVATE "${CMAKE_SOURCE_DIR}/src" "${CMAKE_SOURCE_DIR}/tests")
  target_link_libraries(${name} PRIVATE ${arg_USES})
  target_link_options(${name} PRIVATE -fsanitize=fuzzer)
  set_target_properties(${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY "${CMAKE_BINARY_DIR}/fuzzers")
  add_dependencies(fathom_fuzzers ${name})
endfunction()
