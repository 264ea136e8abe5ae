"""The commands of `pi-cache`, a file for each thing that people do with a cache."""
