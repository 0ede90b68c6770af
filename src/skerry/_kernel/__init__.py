"""The kernel: everything that decides, as pure functions of values. No input or output, no clock, no chance."""
