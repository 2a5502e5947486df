"""Video in and out: everything that touches PyAV."""
