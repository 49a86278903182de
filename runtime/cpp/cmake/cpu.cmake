# The networks' own CPU kernels, and the library that Python's runtime loads, which needs nothing but them.
add_library(shadowdiffusion_cpu_kernels STATIC
    files.cpp
    forks.cpp
    workers.cpp
    bundle/json.cpp
    cpu/attention.cpp
    cpu/border_calibration.cpp
    cpu/cells.cpp
    cpu/degradation.cpp
    cpu/depthwise.cpp
    cpu/direct.cpp
    cpu/light.cpp
    cpu/matte_level.cpp
    cpu/network.cpp
    cpu/panels.cpp
    cpu/plan.cpp
    cpu/places.cpp
    cpu/planes.cpp
    cpu/pointwise.cpp
    cpu/tensors.cpp
    cpu/winograd.cpp
)
target_include_directories(shadowdiffusion_cpu_kernels PUBLIC ${CMAKE_CURRENT_SOURCE_DIR})
target_link_libraries(shadowdiffusion_cpu_kernels
    PUBLIC shadowdiffusion_options Threads::Threads PRIVATE nlohmann_json::nlohmann_json PkgConfig::hwy)
target_compile_definitions(shadowdiffusion_cpu_kernels PRIVATE SHADOWDIFFUSION_CPU_KERNELS_VERSION="${PROJECT_VERSION}"
    ${SHADOWDIFFUSION_HIGHWAY_TARGETS})

add_library(shadowdiffusion_cpu SHARED api/shadowdiffusion_cpu.cpp)
target_link_libraries(shadowdiffusion_cpu PRIVATE shadowdiffusion_cpu_kernels)
target_include_directories(shadowdiffusion_cpu PRIVATE ${CMAKE_CURRENT_SOURCE_DIR}/include)
set_target_properties(shadowdiffusion_cpu PROPERTIES VERSION ${PROJECT_VERSION} SOVERSION ${PROJECT_VERSION_MAJOR}.${PROJECT_VERSION_MINOR})
target_link_options(shadowdiffusion_cpu PRIVATE -Wl,--exclude-libs,ALL)
install(TARGETS shadowdiffusion_cpu LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR})
