"""Estimates of a run: time, memory and disk, from rates measured on this machine."""
