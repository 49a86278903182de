// The interface's version, asked from C11.
#pragma once

#ifdef __cplusplus
extern "C"
#endif
const char* version_from_c(void);
