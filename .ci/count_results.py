"""Counts what .ci/run left in a folder, and prints `N passed, N failed` (and `, N skipped`).

    NAME.json      Bazel's build events of one run of the tests
    NAME.status    Bazel's exit status
    NAME.tests     the labels of the tests that were to run
    NAME.others    the labels of those that this run excludes by their tags: shown, not counted
    fuzz.passed, fuzz.failed, fuzz.skipped    labels

One test in one run counts once, whatever it holds. It passed if Bazel says so and it did something:
GoogleTest calls a test of which every case was skipped a success, here it is skipped. Single skipped
cases within a test that passed are added to the skipped. A test that Bazel did not run is skipped
where Bazel says that it does not fit this machine (no CUDA toolkit), otherwise it failed.
"""

import collections
import glob
import json
import os
import sys
import urllib.parse
import xml.etree.ElementTree as ElementTree


def read_labels(path):
    if not os.path.exists(path):
        return []
    with open(path, encoding="utf-8") as file:
        return file.read().split()


def skipped_cases(uri):
    """(cases, skipped cases) of a test's XML report; (0, 0) if there is none that tells."""
    path = urllib.parse.unquote(urllib.parse.urlparse(uri).path)
    try:
        cases = list(ElementTree.parse(path).iter("testcase"))
    except (OSError, ElementTree.ParseError):
        return 0, 0
    skipped = sum(case.get("result") == "skipped" or case.find("skipped") is not None
                  for case in cases)
    return len(cases), skipped


def count_run(folder, name):
    """(Counter of passed, failed, skipped; the lines to show) for one run of the tests."""
    statuses, reports, incompatible = {}, collections.defaultdict(list), set()
    try:
        with open(os.path.join(folder, name + ".json"), encoding="utf-8") as file:
            for line in file:
                event = json.loads(line)
                event_id = event.get("id", {})
                if "testSummary" in event:
                    statuses[event_id["testSummary"]["label"]] = event["testSummary"]["overallStatus"]
                elif "testResult" in event:
                    for output in event["testResult"].get("testActionOutput", []):
                        if output.get("name") == "test.xml":
                            reports[event_id["testResult"]["label"]].append(output.get("uri", ""))
                elif "targetCompleted" in event_id and "aborted" in event:
                    # Bazel 4 gives no reason for a target that does not fit; newer ones say SKIPPED.
                    if event["aborted"].get("reason", "SKIPPED") == "SKIPPED":
                        incompatible.add(event_id["targetCompleted"]["label"])
    except (OSError, ValueError):
        pass  # Bazel did not come that far: its status and the tests without a result tell.

    with open(os.path.join(folder, name + ".status"), encoding="utf-8") as file:
        bazel_status = int(file.read())
    tests = set(read_labels(os.path.join(folder, name + ".tests"))) | set(statuses)

    counts, lines = collections.Counter(), []
    for label in sorted(tests):
        status = statuses.get(label)
        cases = [skipped_cases(uri) for uri in reports[label]]
        n_cases, n_skipped = (sum(column) for column in zip(*cases)) if cases else (0, 0)
        if status in ("PASSED", "FLAKY"):
            if n_cases and n_cases == n_skipped:
                counts["skipped"] += 1
                lines.append(f"{name}: skipped: {label} skipped itself")
            else:
                counts["passed"] += 1
                counts["skipped"] += n_skipped
                if n_skipped:
                    lines.append(f"{name}: skipped: {n_skipped} of {n_cases} cases in {label}")
        elif status is None and label in incompatible:
            counts["skipped"] += 1
            lines.append(f"{name}: skipped: {label} does not fit this machine")
        else:
            counts["failed"] += 1
            lines.append(f"{name}: FAILED: {label} ({status or 'not built'})")
    if bazel_status != 0 and not counts["failed"]:
        counts["failed"] += 1
        lines.append(f"{name}: FAILED: bazel ended with status {bazel_status}")
    if bazel_status == 0 and not counts["passed"]:
        counts["failed"] += 1
        lines.append(f"{name}: FAILED: no test ran")
    others = read_labels(os.path.join(folder, name + ".others"))
    if others:
        lines.append(f"{name}: not for this run, by their tags: {' '.join(others)}")
    return counts, lines


def count_fuzzers(folder):
    counts, lines = collections.Counter(), []
    for outcome in ("passed", "failed", "skipped"):
        labels = read_labels(os.path.join(folder, "fuzz." + outcome))
        counts[outcome] = len(labels)
        if outcome != "passed":
            shown = outcome.upper() if outcome == "failed" else outcome
            lines += [f"fuzz: {shown}: {label}" for label in labels]
    return counts, lines


def main():
    folder = sys.argv[1]
    total = collections.Counter()
    runs = sorted(os.path.basename(path)[:-len(".status")]
                  for path in glob.glob(os.path.join(folder, "*.status")))
    for name, (counts, lines) in [(run, count_run(folder, run)) for run in runs] + [
            ("fuzz", count_fuzzers(folder))]:
        total += counts
        print("\n".join([f"{name}: {counts['passed']} passed, {counts['failed']} failed, "
                         f"{counts['skipped']} skipped"] + lines))
    if not runs:
        total["failed"] += 1
        print("FAILED: no test run left a result")
    skipped = f", {total['skipped']} skipped" if total["skipped"] else ""
    print(f"{total['passed']} passed, {total['failed']} failed{skipped}", flush=True)
    return 1 if total["failed"] else 0


if __name__ == "__main__":
    sys.exit(main())
