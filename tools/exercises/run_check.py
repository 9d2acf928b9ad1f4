#!/usr/bin/env python3
"""Runs a grader, NAME_check.cc linked with a solution, and says how it went:
run_check.py NAME PROGRAM

A solution may crash, loop forever, print without end or ask for all memory; each ends in a
sentence. Exit status: 0 if the solution passes, else 1.
"""

import collections
import os
import re
import resource
import selectors
import signal
import subprocess
import sys
import time

TIME_LIMIT = 10  # seconds; a grader takes less than 3
OUTPUT_LIMIT = 64 * 1024  # bytes; a grader prints less than 1 KB, a sanitizer some 20
MEMORY_LIMIT = 4 << 30  # bytes of address space; a grader needs less than 0.1 GB

# state: passes | fails | crashes | loops | floods. hint: one line. text: to show, with the hint.
Verdict = collections.namedtuple("Verdict", "state hint text")

CRASHES = {
    signal.SIGSEGV: ("is an index out of range? The case's name says the sizes. "
                     "(Or a function calls itself without end.)"),
    signal.SIGBUS: "is an index out of range?",
    signal.SIGFPE: "is an integer divided by zero?",
    signal.SIGABRT: ("an exception that nobody catches, a failed assertion, "
                     "or memory written outside of its bounds"),
    signal.SIGILL: "does a function that returns a value reach its end without `return`?",
    signal.SIGTRAP: "does a function that returns a value reach its end without `return`?",
}


def limit_resources():
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if "ASAN_OPTIONS" not in os.environ and "TSAN_OPTIONS" not in os.environ:
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY_LIMIT, MEMORY_LIMIT))


def run(program, time_limit):
    """(output as text, exit status, "" or "loops" or "floods")"""
    environment = dict(os.environ)
    if "ASAN_OPTIONS" in environment:  # It shows the line of failed assertions too.
        environment["ASAN_OPTIONS"] += ":handle_abort=1"
    process = subprocess.Popen([program], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                               stderr=subprocess.STDOUT, preexec_fn=limit_resources,
                               start_new_session=True, env=environment)
    output = b""
    trouble = ""
    deadline = time.monotonic() + time_limit
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        while True:
            left = deadline - time.monotonic()
            if left <= 0:
                trouble = "loops"
                break
            if not selector.select(left):
                continue
            part = os.read(process.stdout.fileno(), 4096)
            if not part:
                break
            output += part
            if len(output) > OUTPUT_LIMIT:
                trouble = "floods"
                break
    if not trouble:
        try:  # Its output is closed, which does not mean that it has ended.
            process.wait(max(0.1, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            trouble = "loops"
    if trouble:
        # The grader's answer to SIGTERM is to say which case it was at.
        process.send_signal(signal.SIGTERM)
        try:
            rest, _ = process.communicate(timeout=1)
            output = output[:OUTPUT_LIMIT] + rest[-1024:] if trouble == "floods" else output + rest
        except subprocess.TimeoutExpired:
            pass
    try:  # And whatever else it started.
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    process.stdout.close()
    return output.decode("utf-8", errors="replace"), process.wait(), trouble


def grade(program, time_limit=TIME_LIMIT):
    """The Verdict on a program."""
    output, status, trouble = run(program, time_limit)
    at = re.findall(r"^at case: (.*)$", output, re.MULTILINE)
    where = f"At the case: {at[-1]}\n" if at else ""

    if trouble == "loops":
        hint = f"did not end within {time_limit} seconds: does it loop forever?"
        return Verdict("loops", hint, f"{where}It {hint}\n")
    if trouble == "floods":
        shown = "".join(f"  | {line[:100]}\n" for line in output.splitlines()[:5])
        hint = f"printed more than {OUTPUT_LIMIT // 1024} KB: is there a print in a loop?"
        return Verdict("floods", hint, f"{where}It {hint} The first lines:\n{shown}")
    if status < 0:
        number = signal.Signals(-status)
        if "std::bad_alloc" in output or "std::length_error" in output:
            reason = "asked for too much memory: is a size negative, or never set?"
        else:
            reason = CRASHES.get(number, "")
        report = re.search(r"AddressSanitizer: .*", output)
        reason = report[0] if report else reason
        hint = f"crashed with {number.name} ({signal.strsignal(-status)}): {reason}"
        said = re.sub(r"^at case: .*\n", "", output, flags=re.MULTILINE)
        advice = "" if report else "Test with --config=asan to see the line at which it happens.\n"
        return Verdict("crashes", hint, f"{said}{where}It {hint}\n{advice}")
    if status == 0 and re.search(r"^PASSED ", output, re.MULTILINE):
        return Verdict("passes", "", output)
    report = re.search(r"AddressSanitizer: .*|\S+ runtime error: .*", output)
    if report:  # of a build with --config=asan
        return Verdict("crashes", report[0], output)
    hints = re.findall(r"^ *hint: *(.*)$", output, re.MULTILINE)
    if hints:
        return Verdict("fails", hints[0], output)
    hint = (f"the program ended by itself (exit status {status}) before the grader was through: "
            "does it call exit()?")
    return Verdict("fails", hint, output + where + f"hint: {hint}\n")


def main():
    name, program = sys.argv[1:]
    verdict = grade(os.path.abspath(program))
    print(f"{name}: {verdict.state}")
    print(verdict.text, end="", flush=True)
    return 0 if verdict.state == "passes" else 1


if __name__ == "__main__":
    sys.exit(main())
