# Build-wide settings: language level, warnings, floating-point rules, sanitizers, fuzzing.

option(FATHOM_TESTS "Build the unit, oracle and system tests" ON)
option(FATHOM_BENCH "Build the benchmarks" ON)
option(FATHOM_FUZZ "Build the fuzz targets and no tests (needs Clang)" OFF)
option(FATHOM_CUDA "Enable the CUDA language (needs nvcc)" OFF)
set(FATHOM_SANITIZE "" CACHE STRING "Value for -fsanitize=, or empty")

set(CMAKE_CXX_STANDARD 20)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)
# A program finds the libraries that a bundle brings in lib/ beside its bin/, and so do those
# libraries: the old tag, unlike the new one, holds for them too.
set(CMAKE_BUILD_RPATH "$ORIGIN/../lib")
add_link_options(-Wl,--disable-new-dtags)

# Paths below the source folder count as relative, so a second clone finds the first one's objects.
find_program(FATHOM_CCACHE ccache)
if(FATHOM_CCACHE)
  set(launcher "${CMAKE_COMMAND}" -E env "CCACHE_BASEDIR=${CMAKE_SOURCE_DIR}" CCACHE_NOHASHDIR=1
      "${FATHOM_CCACHE}")
  set(CMAKE_CXX_COMPILER_LAUNCHER ${launcher})
  set(CMAKE_CUDA_COMPILER_LAUNCHER ${launcher})
endif()

# nvcc does not know these options, so they are for the host compiler's own files.
function(fathom_host_options)
  add_compile_options("$<$<COMPILE_LANGUAGE:C,CXX>:${ARGN}>")
endfunction()

fathom_host_options(-Wall -Wextra -Wshadow -Wconversion -Werror)

# One meaning for every floating-point expression on every target: contraction is written out as
# fma() where it is wanted, and nothing is reassociated (docs/decisions/0003-cpu-baseline.md).
fathom_host_options(-ffp-contract=off)
if(CMAKE_SYSTEM_PROCESSOR MATCHES "x86_64|AMD64")
  # AES and PCLMUL are not in x86-64-v3, but Highway asks for them before it uses AVX2.
  fathom_host_options(-march=x86-64-v3 -maes -mpclmul)
endif()

if(FATHOM_SANITIZE)
  fathom_host_options(-fsanitize=${FATHOM_SANITIZE} -fno-omit-frame-pointer
                      -fno-sanitize-recover=all)
  add_link_options(-fsanitize=${FATHOM_SANITIZE})
endif()

if(FATHOM_FUZZ)
  if(NOT CMAKE_CXX_COMPILER_ID MATCHES "Clang")
    message(FATAL_ERROR "FATHOM_FUZZ is on, but the compiler is ${CMAKE_CXX_COMPILER_ID}: libFuzzer "
                        "comes with Clang. Use `cmake --preset fuzz`, or ./run fuzz.")
  endif()
  set(FATHOM_TESTS OFF)
  set(FATHOM_BENCH OFF)
  # Coverage feedback in every layer; only the fuzz targets link libFuzzer's main().
  fathom_host_options(-fsanitize=fuzzer-no-link)
endif()
