"""Reads what the project's texts are made of: code blocks, commands, links, paths, targets."""

import collections
import re
import shlex

# heading: of the section that it is in. marker: the HTML comment right above it, without <!-- -->.
Block = collections.namedtuple("Block", "heading marker lines")
# argv: the program's, behind "--". options: Bazel's own. text: as the reader sees it.
Command = collections.namedtuple("Command", "verb options targets argv text heading is_block")

# A word in capitals (FILE, NAME, NN) stands for something that the reader chooses.
PLACEHOLDER = re.compile(r"(?<![A-Za-z])[A-Z][A-Z_]+(?![A-Za-z])")


def code_blocks(text):
    """Fenced blocks, and blocks indented by four spaces, in order."""
    blocks, heading, marker = [], "", ""
    lines = text.splitlines()
    in_list = False
    i = 0
    while i < len(lines):
        line = lines[i]
        if line.startswith("#"):
            heading, marker, in_list = line.lstrip("# "), "", False
        elif comment := re.fullmatch(r"<!-- (.*) -->", line):
            marker = comment[1]
        elif line.startswith("```"):
            end = next(j for j in range(i + 1, len(lines)) if lines[j].startswith("```"))
            blocks.append(Block(heading, marker, lines[i + 1:end]))
            i, marker = end, ""
        elif line.startswith("    ") and not in_list:
            end = i
            while end < len(lines) and (not lines[end] or lines[end].startswith("    ")):
                end += 1
            block = [part[4:] for part in lines[i:end]]
            while not block[-1]:
                block.pop()
            blocks.append(Block(heading, marker, block))
            i, marker = end - 1, ""
        elif line:
            marker = ""
            in_list = bool(re.match(r"([-*]|[0-9]+\.) ", line)) or (in_list and line[0] == " ")
        i += 1
    return blocks


def code_spans(text):
    """What stands in `backticks`, outside of code blocks."""
    return [" ".join(span.split()) for span in re.findall(r"`([^`]+)`", without_blocks(text))]


def without_blocks(text):
    """The prose: no code blocks, no comments."""
    text = re.sub(r"^```.*?^```", "", text, flags=re.M | re.S)
    text = re.sub(r"<!--.*?-->", "", text, flags=re.S)
    return re.sub(r"^    .*$", "", text, flags=re.M)


def commands(text):
    """Every command that begins with ./bazelw, in a code block or between backticks."""
    found = []
    for block in code_blocks(text):
        joined = re.sub(r"\\\n\s*", "", "\n".join(block.lines))
        for line in joined.splitlines():
            if line.removeprefix("$ ").startswith("./bazelw"):
                found.append(_command(line.removeprefix("$ "), block.heading, True))
    for span in code_spans(text):
        if span.startswith("./bazelw "):
            found.append(_command(span, "", False))
    return found


def _command(line, heading, is_block):
    words = shlex.split(line, comments=True)[1:]
    argv = words[words.index("--") + 1:] if "--" in words else []
    words = words[:words.index("--")] if "--" in words else words
    verb = next((word for word in words if not word.startswith("-")), "")
    options = [word for word in words if word.startswith("-")]
    targets = [word for word in words if word.startswith("//")]
    return Command(verb, options, targets, argv, line, heading, is_block)


def flags(words):
    """The flags among the words of a command, without their values."""
    return [word.split("=")[0] for word in words if re.match(r"--[a-z]", word)]


def label(target):
    """//a/b as //a/b:b"""
    if ":" in target or target.endswith("..."):
        return target
    return f"{target}:{target.split('/')[-1]}"


def links(text):
    """(text, where to) of each link and picture."""
    return re.findall(r"\[((?:[^\[\]]|\[[^\]]*\])*)\]\(([^)\s]+)\)", _no_code(text))


def anchors(text):
    """What #... may name: GitHub's way to turn a heading into an id."""
    found = set()
    prose = re.sub(r"^```.*?^```", "", text, flags=re.M | re.S)
    for heading in re.findall(r"^#+ +(.*)$", prose, re.M):
        words = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).lower()
        anchor = re.sub(r"[^\w\- ]", "", words).replace(" ", "-")
        n = 0
        while (anchor if n == 0 else f"{anchor}-{n}") in found:
            n += 1
        found.add(anchor if n == 0 else f"{anchor}-{n}")
    return found | set(re.findall(r'<a (?:id|name)="([^"]+)"', text))


def targets(text):
    """Every Bazel target or pattern that the prose and the commands name. (Drawings have // too.)"""
    lines = [without_blocks(text), *(command.text for command in commands(text))]
    return re.findall(r"(?<![:\w/@])//(?:[a-z0-9][\w./-]*)?(?::[\w.-]+)?(?<![.:/])(?:/?\.\.\.)?",
                      "\n".join(lines))


def braces(path):
    """a/{b, c}/d as a/b/d and a/c/d."""
    group = re.search(r"\{([^{}]*)\}", path)
    if not group:
        return [path]
    return [each for part in group[1].split(",")
            for each in braces(path[:group.start()] + part.strip() + path[group.end():])]


def _no_code(text):
    return re.sub(r"`[^`]*`", "``", without_blocks(text))
