#!/usr/bin/env python3
"""Plants a mistake: mutate.py FILE OLD NEW prints FILE with NEW for OLD, which must occur once."""

import sys


def mutate(text, old, new):
    count = text.count(old)
    if count != 1:
        raise ValueError(f"{old!r} occurs {count} times, not once")
    return text.replace(old, new)


def main():
    path, old, new = sys.argv[1:]
    with open(path, encoding="utf-8") as file:
        text = file.read()
    try:
        sys.stdout.write(mutate(text, old, new))
    except ValueError as error:
        sys.exit(f"{path}: {error}")


if __name__ == "__main__":
    main()
