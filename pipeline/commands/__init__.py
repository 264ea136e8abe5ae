"""The commands of `pipeline`: each translates options, calls one function, prints."""
