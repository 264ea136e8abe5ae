"""Gramian angular fields of signals, cached beside their persistence images."""
