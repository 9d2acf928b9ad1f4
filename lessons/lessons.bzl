"""The lessons whose programs take the same flags and write the same report."""

# In the course's order. A new lesson is one line here: //lessons:compare, its benchmark
# //benchmarks:bench_lesson_NN, the archive of //tools:gpu_bundle and the tests follow.
COMPARED_LESSONS = [
    "02_running_an_llm",
    "03_cuda_kernels",
    "04_kv_cache",
    "05_batching",
]
