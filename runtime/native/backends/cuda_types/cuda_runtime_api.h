// The two types that TensorRT's headers take from CUDA's, for builds without the CUDA toolkit.
#pragma once

typedef struct CUstream_st* cudaStream_t;
typedef struct CUevent_st* cudaEvent_t;
