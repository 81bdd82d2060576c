# fathom_xgrammar: the library that tools/run/xgrammar.sh builds once for all trees, as an imported
# target. It is not instrumented in the sanitizer trees.

set(FATHOM_XGRAMMAR "${CMAKE_SOURCE_DIR}/build/third_party/xgrammar")
if(NOT EXISTS "${FATHOM_XGRAMMAR}/lib/libxgrammar.a")
  message(FATAL_ERROR "xgrammar is not built (${FATHOM_XGRAMMAR} is missing). Run "
                      "tools/run/xgrammar.sh once; every ./run command does so by itself.")
endif()
find_package(Threads REQUIRED)
add_library(fathom_xgrammar STATIC IMPORTED GLOBAL)
set_target_properties(fathom_xgrammar PROPERTIES
  IMPORTED_LOCATION "${FATHOM_XGRAMMAR}/lib/libxgrammar.a"
  INTERFACE_INCLUDE_DIRECTORIES "${FATHOM_XGRAMMAR}/include"
  INTERFACE_SYSTEM_INCLUDE_DIRECTORIES "${FATHOM_XGRAMMAR}/include"
  INTERFACE_LINK_LIBRARIES Threads::Threads)
