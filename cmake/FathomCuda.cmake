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
