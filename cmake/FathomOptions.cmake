# Build-wide settings: language level, warnings, floating-point rules, sanitizers.

option(FATHOM_TESTS "Build the unit, oracle and system tests" ON)
option(FATHOM_BENCH "Build the benchmarks" ON)
option(FATHOM_FUZZ "Build only the fuzz targets (needs Clang)" OFF)
set(FATHOM_SANITIZE "" CACHE STRING "Value for -fsanitize=, or empty")

set(CMAKE_CXX_STANDARD 20)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)

find_program(FATHOM_CCACHE ccache)
if(FATHOM_CCACHE)
  set(CMAKE_CXX_COMPILER_LAUNCHER "${FATHOM_CCACHE}")
endif()

add_compile_options(-Wall -Wextra -Wshadow -Wconversion -Werror)

# design rule 6a.4: one meaning for every floating-point expression on every target.
# Contraction is written out as fma() where it is wanted; nothing is reassociated.
add_compile_options(-ffp-contract=off)
if(CMAKE_SYSTEM_PROCESSOR MATCHES "x86_64|AMD64")
  # AES and PCLMUL are not in x86-64-v3, but Highway asks for them before it uses AVX2.
  add_compile_options(-march=x86-64-v3 -maes -mpclmul)
endif()

if(FATHOM_SANITIZE)
  add_compile_options(-fsanitize=${FATHOM_SANITIZE} -fno-omit-frame-pointer
                      -fno-sanitize-recover=all)
  add_link_options(-fsanitize=${FATHOM_SANITIZE})
endif()
