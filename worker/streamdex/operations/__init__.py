"""What people run beside the worker: verify and repair, reindex, replay, explain, estimate, search.

Each module or folder does one command's work without a terminal. It uses the worker's own stages, so what it finds and
writes is what a worker would find and write.
"""
