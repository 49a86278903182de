# shadowdiffusion_options: how everything here is compiled, as an interface target.
add_library(shadowdiffusion_options INTERFACE)
target_compile_options(shadowdiffusion_options INTERFACE
    -Wall -Wextra -Wpedantic -Wshadow -Werror
    $<$<COMPILE_LANGUAGE:CXX>:-Wconversion -Wsign-conversion -Wnon-virtual-dtor -Woverloaded-virtual -Wold-style-cast>)
if(CMAKE_SYSTEM_PROCESSOR MATCHES "x86_64|AMD64")
    # The least that Highway's fast paths begin at, which every x86 processor since 2009 has. Better ones are chosen when
    # the program runs.
    target_compile_options(shadowdiffusion_options INTERFACE -march=x86-64-v2)
endif()
if(SHADOWDIFFUSION_SANITIZE)
    target_compile_options(shadowdiffusion_options INTERFACE
        -fsanitize=${SHADOWDIFFUSION_SANITIZE} -fno-sanitize-recover=all -fno-omit-frame-pointer)
    target_link_options(shadowdiffusion_options INTERFACE -fsanitize=${SHADOWDIFFUSION_SANITIZE})
endif()
