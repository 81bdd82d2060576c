# CUDA as a language of the build: nvcc, C++20, machine code for Hopper (sm_90a) alone.

find_program(FATHOM_NVCC nvcc HINTS "$ENV{CUDA_HOME}/bin" /usr/local/cuda/bin)
if(NOT FATHOM_NVCC)
  message(FATAL_ERROR "FATHOM_CUDA is on, but there is no nvcc on PATH, in $CUDA_HOME/bin or in "
                      "/usr/local/cuda/bin. Install the CUDA toolkit 13.0, or use another preset.")
endif()
set(CMAKE_CUDA_COMPILER "${FATHOM_NVCC}")
# "real": no PTX, which no other device could use (sm_90a code runs on sm_90 devices only).
set(CMAKE_CUDA_ARCHITECTURES 90a-real)
enable_language(CUDA)
find_package(CUDAToolkit REQUIRED)

# CMake 3.25.1 does not know that nvcc speaks C++20, and drops the standard silently.
if(NOT "cuda_std_20" IN_LIST CMAKE_CUDA_COMPILE_FEATURES)
  set(CMAKE_CUDA20_STANDARD_COMPILE_OPTION "-std=c++20")
  set(CMAKE_CUDA20_EXTENSION_COMPILE_OPTION "-std=c++20")
  list(APPEND CMAKE_CUDA_COMPILE_FEATURES cuda_std_20)
endif()
set(CMAKE_CUDA_STANDARD 20)
set(CMAKE_CUDA_STANDARD_REQUIRED ON)

if(NOT EXISTS "${CMAKE_SOURCE_DIR}/src/backend/cuda/CMakeLists.txt")
  message(STATUS "CUDA ${CMAKE_CUDA_COMPILER_VERSION} is enabled, but this checkout has no CUDA sources "
                 "(src/backend/cuda): the tree is the same as the release preset's.")
endif()

# What runs where there is a GPU: the program with its plug-in, and the tests and benchmarks of
# fathom_gpu_program.
add_custom_target(fathom_gpu_programs)

# fathom_gpu_program(NAME SOURCES ... [USES target ...])
#
# A test or benchmark for a GPU machine (./run gpu-test, ./run gpu-bench), beside the program in bin/.
# Without a GPU it says so: every case of a test is skipped, a benchmark fails.
function(fathom_gpu_program name)
  cmake_parse_arguments(arg "" "" "SOURCES;USES" ${ARGN})
  add_executable(${name} ${arg_SOURCES})
  target_include_directories(${name} PRIVATE "${CMAKE_SOURCE_DIR}/src" "${CMAKE_SOURCE_DIR}/tests")
  target_link_libraries(${name} PRIVATE ${arg_USES})
  set_target_properties(${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY "${CMAKE_BINARY_DIR}/bin")
  add_dependencies(fathom_gpu_programs ${name})
endfunction()
