# shadowdiffusion_options: how everything here is compiled, as an interface target.
add_library(shadowdiffusion_options INTERFACE)
target_compile_options(shadowdiffusion_options INTERFACE
    -Wall -Wextra -Wpedantic -Wshadow -Werror
    $<$<COMPILE_LANGUAGE:CXX>:-Wconversion -Wsign-conversion -Wnon-virtual-dtor -Woverloaded-virtual -Wold-style-cast>)
if(SHADOWDIFFUSION_SANITIZE)
    target_compile_options(shadowdiffusion_options INTERFACE
        -fsanitize=${SHADOWDIFFUSION_SANITIZE} -fno-sanitize-recover=all -fno-omit-frame-pointer)
    target_link_options(shadowdiffusion_options INTERFACE -fsanitize=${SHADOWDIFFUSION_SANITIZE})
endif()
