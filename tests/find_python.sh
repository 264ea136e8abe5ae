#!/bin/sh
# Print an interpreter of the version given, such as 3.13, that runs; nothing where there is none.
for candidate in "python$1" "$(pyenv root 2>/dev/null)/versions/$1"*/bin/python; do
    if "$candidate" -c "import venv" >/dev/null 2>&1; then
        command -v "$candidate"
        exit 0
    fi
done
