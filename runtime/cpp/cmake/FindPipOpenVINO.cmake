# find_package(OpenVINO), also in the pip package `openvino` of a Python that can be found: .venv of this repository,
# or whatever python3 is. OpenVINO_DIR or CMAKE_PREFIX_PATH names another.
find_package(OpenVINO QUIET COMPONENTS Runtime)
if(NOT OpenVINO_FOUND)
    foreach(python IN ITEMS ${CMAKE_SOURCE_DIR}/.venv/bin/python python3)
        execute_process(
            COMMAND ${python} -c "from openvino.utils import get_cmake_path; print(get_cmake_path())"
            OUTPUT_VARIABLE folder OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET RESULT_VARIABLE failed)
        if(NOT failed AND IS_DIRECTORY "${folder}")
            find_package(OpenVINO QUIET COMPONENTS Runtime PATHS ${folder} NO_DEFAULT_PATH)
            break()
        endif()
    endforeach()
endif()
set(PipOpenVINO_FOUND ${OpenVINO_FOUND})
