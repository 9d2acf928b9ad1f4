#!/bin/sh
echo "coverage reports are not set up in this project" >&2
exit 1
