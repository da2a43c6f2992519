/* Stands in for cuda_bf16.h, which is C++: no function here takes a bfloat16. */
#pragma once
