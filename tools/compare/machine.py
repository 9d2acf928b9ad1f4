"""What one must know of a measurement: the machine, and the commit that was measured."""

import os
import pathlib
import re
import subprocess


def cpu():
    """The CPU, and what of it this system may use."""
    name = re.search(r"^model name\s*:\s*(.*)$", pathlib.Path("/proc/cpuinfo").read_text(), re.M)
    memory = re.search(r"^MemTotal:\s*(\d+) kB$", pathlib.Path("/proc/meminfo").read_text(), re.M)
    return {
        "cpu": name.group(1) if name else "unknown",
        "cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(int(memory.group(1)) / 2**20, 1),
    }


def gpu():
    """{"gpu", "driver"} of the first NVIDIA GPU; empty if there is none."""
    command = ["nvidia-smi", "--query-gpu=name,driver_version", "--format=csv,noheader"]
    try:
        run = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
        name, driver = run.stdout.strip().splitlines()[0].split(", ")
    except (OSError, subprocess.SubprocessError, ValueError, IndexError):
        return {}
    return {"gpu": name, "driver": driver}


def commit(root):
    """The commit that is checked out in `root`; "+" if a file that git knows has changed since."""
    def git(*arguments):
        return subprocess.run(["git", *arguments], cwd=root, check=True, capture_output=True,
                              text=True).stdout.strip()

    changed = git("status", "--porcelain", "--untracked-files=no")
    return git("rev-parse", "--short=12", "HEAD") + ("+" if changed else "")
