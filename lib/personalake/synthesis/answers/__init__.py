"""Whether two final answers are the same: by how they are written, then by algebra in a process of its own."""
