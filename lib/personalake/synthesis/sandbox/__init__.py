"""A sandbox for code that a model wrote: no network, no files, limits on time, memory, processes and output."""
