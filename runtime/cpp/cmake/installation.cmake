# Library, header, bundles, and what find_package(shadowdiffusion) needs.
include(CMakePackageConfigHelpers)

set(bundles ${CMAKE_INSTALL_DATADIR}/shadowdiffusion/bundles)
file(MAKE_DIRECTORY ${CMAKE_BINARY_DIR}/${CMAKE_INSTALL_DATADIR}/shadowdiffusion)
file(CREATE_LINK ${CMAKE_SOURCE_DIR}/runtime/builtin ${CMAKE_BINARY_DIR}/${bundles} SYMBOLIC)
install(DIRECTORY ${CMAKE_SOURCE_DIR}/runtime/builtin/ DESTINATION ${bundles})

# Where OpenVINO is not in a folder that the loader knows, as in a pip package, the library remembers where it was. Not
# by INSTALL_RPATH_USE_LINK_PATH, which leaves out what lies within this source tree, as .venv does.
if(OpenVINO_FOUND)
    set_target_properties(shadowdiffusion PROPERTIES INSTALL_RPATH $<TARGET_FILE_DIR:openvino::runtime>)
endif()
install(TARGETS shadowdiffusion EXPORT shadowdiffusion
    LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR} PUBLIC_HEADER DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
set(config ${CMAKE_INSTALL_LIBDIR}/cmake/shadowdiffusion)
install(EXPORT shadowdiffusion FILE shadowdiffusionConfig.cmake NAMESPACE shadowdiffusion:: DESTINATION ${config})
write_basic_package_version_file(${CMAKE_CURRENT_BINARY_DIR}/shadowdiffusionConfigVersion.cmake
    VERSION ${PROJECT_VERSION} COMPATIBILITY SameMinorVersion)
install(FILES ${CMAKE_CURRENT_BINARY_DIR}/shadowdiffusionConfigVersion.cmake DESTINATION ${config})
