"""`python -m tests.gpu`: try the GPU path on a real GPU, in steps that end with verdicts. See README.md."""
