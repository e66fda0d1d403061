# SPDX-License-Identifier: Apache-2.0
# Looks for a CUDA toolkit that the back end can be built with: sets VITRO_HAVE_CUDA, and where it
# is ON defines vitro_cuda_targets. Where none is found the build is whole without it.
set(VITRO_CUDA_OLDEST 12.0) # the first that knows sm_90a

function(vitro_no_cuda why)
  if(VITRO_CUDA STREQUAL ON)
    message(FATAL_ERROR "VITRO_CUDA is ON: ${why}")
  endif()
  message(STATUS "CUDA back end: left out (${why})")
endfunction()

# The compiler of the environment, on the path, or where the toolkit's installer puts it.
find_program(VITRO_NVCC nvcc HINTS $ENV{CUDACXX} $ENV{CUDA_PATH}/bin PATHS /usr/local/cuda/bin)
find_program(VITRO_CUDA_HOST NAMES $ENV{CUDAHOSTCXX} g++ c++)
mark_as_advanced(VITRO_NVCC VITRO_CUDA_HOST)
set(VITRO_NVCC_VERSION 0)
if(VITRO_NVCC)
  execute_process(COMMAND ${VITRO_NVCC} --version OUTPUT_VARIABLE text ERROR_QUIET)
  if(text MATCHES "release ([0-9.]+)")
    set(VITRO_NVCC_VERSION ${CMAKE_MATCH_1})
  endif()
endif()

if(VITRO_CUDA STREQUAL OFF)
  message(STATUS "CUDA back end: left out (VITRO_CUDA is OFF)")
elseif(NOT VITRO_NVCC)
  vitro_no_cuda("there is no nvcc")
elseif(NOT VITRO_CUDA_HOST)
  vitro_no_cuda("nvcc needs a C++ compiler, and there is none")
elseif(VITRO_NVCC_VERSION VERSION_LESS VITRO_CUDA_OLDEST)
  vitro_no_cuda("${VITRO_NVCC} is of CUDA ${VITRO_NVCC_VERSION}, ${VITRO_CUDA_OLDEST} is needed")
else()
  # Machine code for Ampere, Ada and Hopper; PTX, which the driver compiles, for what came later.
  set(CMAKE_CUDA_ARCHITECTURES "80-real;89-real;90a-real;90-virtual" CACHE STRING
      "the GPUs that machine code is made for")
  set(CMAKE_CUDA_COMPILER ${VITRO_NVCC})
  set(CMAKE_CUDA_HOST_COMPILER ${VITRO_CUDA_HOST})
  if(NOT CMAKE_CUDA_COMPILER_LAUNCHER)
    set(CMAKE_CUDA_COMPILER_LAUNCHER ${CMAKE_C_COMPILER_LAUNCHER})
  endif()
  enable_language(CUDA)
  find_package(CUDAToolkit QUIET)
  if(NOT TARGET CUDA::cudart_static OR NOT CUDA_cublasLt_LIBRARY)
    vitro_no_cuda("the toolkit at ${VITRO_NVCC} lacks cudart_static or cublasLt")
  else()
    set(VITRO_HAVE_CUDA ON)
    message(STATUS "CUDA back end: CUDA ${CUDAToolkit_VERSION} for ${CMAKE_CUDA_ARCHITECTURES}")
  endif()
endif()

# vitro_cuda_c: what calls the runtime; vitro_cuda_lt: what loads cuBLASLt; vitro_cuda_kernels. The
# tests build the first once more on their emulator.
macro(vitro_cuda_targets)
  file(GLOB VITRO_CUDA_C CONFIGURE_DEPENDS src/backend/cuda/*.c)
  file(GLOB VITRO_CUDA_KERNELS CONFIGURE_DEPENDS src/backend/cuda/*.cu)
  list(FILTER VITRO_CUDA_C EXCLUDE REGEX "/lt\\.c$")
  add_library(vitro_cuda_c OBJECT ${VITRO_CUDA_C})
  add_library(vitro_cuda_lt OBJECT src/backend/cuda/lt.c)
  foreach(part vitro_cuda_c vitro_cuda_lt)
    target_link_libraries(${part} PUBLIC vitro_flags PRIVATE OpenMP::OpenMP_C)
    target_include_directories(${part} SYSTEM PRIVATE ${CUDAToolkit_INCLUDE_DIRS})
  endforeach()
  vitro_loader_name(VITRO_CUBLASLT_FILE "${CUDA_cublasLt_LIBRARY}" libcublasLt.so)
  get_filename_component(VITRO_CUBLASLT_DIR ${CUDA_cublasLt_LIBRARY} DIRECTORY)
  target_compile_definitions(vitro_cuda_lt PRIVATE
    VITRO_CUBLASLT_FILE="${VITRO_CUBLASLT_FILE}"
    VITRO_CUBLASLT_PATH="${VITRO_CUBLASLT_DIR}/${VITRO_CUBLASLT_FILE}")

  # No part of the C++ library: programs are linked as C.
  add_library(vitro_cuda_kernels OBJECT ${VITRO_CUDA_KERNELS})
  target_include_directories(vitro_cuda_kernels PRIVATE ${PROJECT_SOURCE_DIR}/include
                                                        ${PROJECT_SOURCE_DIR}/src)
  target_compile_options(vitro_cuda_kernels PRIVATE
    -Xcompiler=-fvisibility=hidden,-fno-exceptions,-fno-rtti,-fno-threadsafe-statics)
  set_target_properties(vitro_cuda_kernels PROPERTIES CUDA_STANDARD 17 CUDA_STANDARD_REQUIRED ON
                        CUDA_EXTENSIONS OFF)
  set(VITRO_CUDA_OBJECTS $<TARGET_OBJECTS:vitro_cuda_c> $<TARGET_OBJECTS:vitro_cuda_lt>
                         $<TARGET_OBJECTS:vitro_cuda_kernels>)
  set(VITRO_CUDA_LIBRARIES CUDA::cudart_static)
  set(VITRO_PC_CUDA "-L${CUDAToolkit_LIBRARY_DIR} -lcudart_static -lrt ")
endmacro()
