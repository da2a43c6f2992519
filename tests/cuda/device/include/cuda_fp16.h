/* Stands in for cuda_fp16.h, which is C++: no function here takes a half. */
#pragma once
