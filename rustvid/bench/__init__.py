"""Measure RustVid on this machine: `rustvid bench`, and what the scripts in benchmarks/ share."""
