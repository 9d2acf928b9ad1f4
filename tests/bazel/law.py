"""The law of the layers: which package may depend on which.

    lessons/NN  ->  common/{serve, engine}
                ->  common/{sched, mm, model, text, quant, dist, loader, profile}
                ->  common/backend
                ->  common/device
                ->  common/{sample, tensor}, kernels/{cpu, cuda, ladder}
                ->  kernels (formats.h, rope.h)

An arrow may skip layers, never point up. Within a layer of common/, packages may use one another.
"""

# From the bottom up.
LAYERS = [
    ["kernels"],
    ["common/sample", "common/tensor", "kernels/cpu", "kernels/cuda", "kernels/ladder"],
    ["common/device"],
    ["common/backend"],
    ["common/dist", "common/loader", "common/mm", "common/model", "common/profile", "common/quant",
     "common/sched", "common/text"],
    ["common/engine", "common/serve"],
    ["lessons"],
]

# These may use anything below; what may use them is said in violation().
BUILD_RULES = {"", "bazel", "third_party"}
PROGRAMS = {"tools", "exercises"}
CHECKS = {"tests", "benchmarks"}
# It uses no test, it carries them to another machine.
CARRIER = "//tools:gpu_bundle"


def unit_of(package):
    """The part of the tree that the law speaks of: common/model for common/model/reference."""
    parts = package.split("/")
    if parts[0] in ("common", "kernels", "lessons"):
        return "/".join(parts[:2])
    return parts[0]


def layer_of(unit):
    """The number of its layer, or None if the law names none."""
    if unit.startswith("lessons/"):
        unit = "lessons"
    return next((i for i, layer in enumerate(LAYERS) if unit in layer), None)


def violation(source, target):
    """What the law has against package `source` depending on package `target`, or None."""
    a, b = unit_of(source), unit_of(target)
    top_a, top_b = a.split("/")[0], b.split("/")[0]

    for package, unit, top in ((source, a, top_a), (target, b, top_b)):
        known = (top in BUILD_RULES | PROGRAMS | CHECKS or unit == "common/base" or
                 layer_of(unit) is not None)
        if not known:
            return f"{package or '//'} is in no layer: give it one in tests/bazel/law.py"

    if a == b or top_b in BUILD_RULES:
        return None
    if top_a in BUILD_RULES:
        return "the build's own rules use no code"
    if top_a in CHECKS:
        return None
    if top_b in CHECKS:
        return f"nothing uses {top_b}/"
    if top_a == "kernels" and top_b == "common":
        return "kernels know bytes: they use nothing from common/"
    if a == "common/base":
        return "common/base uses nothing of ours"
    if b == "common/base":
        return None
    if top_b in PROGRAMS:
        return None if top_a in PROGRAMS | {"lessons"} else f"{top_a}/ does not use {top_b}/"
    if top_a in PROGRAMS:
        return None
    if top_a == "lessons" and top_b == "lessons":
        # The package lessons itself is no lesson: it compares them all.
        return None if a == "lessons" else "no lesson depends on a lesson"
    if layer_of(a) > layer_of(b):
        return None
    if layer_of(a) == layer_of(b) and top_a == top_b:
        return None
    return f"{a} is not above {b}"


def violations(edges):
    """A sentence for each edge (label, label) that breaks the law."""
    found = []
    for source, target in edges:
        if target.startswith("@") or not target.startswith("//"):
            continue
        if source == CARRIER and package_of(target).split("/")[0] in CHECKS:
            continue
        why = violation(package_of(source), package_of(target))
        if why:
            found.append(f"{source} depends on {target}: {why}")
    return sorted(set(found))


def package_of(label):
    return label[len("//"):].split(":")[0]
