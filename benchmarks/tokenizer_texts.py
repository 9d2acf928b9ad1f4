"""Writes english.txt, code.txt and chinese.txt, 1 MB each, for the benchmarks of the tokenizers.

    python3 benchmarks/tokenizer_texts.py FOLDER

Real text that a Debian 12 machine with Python has, so that nothing is fetched or kept:

    english   the licenses in /usr/share/common-licenses (base-files), Vim's user manual (vim-runtime)
    code      Python's standard library
    chinese   the Chinese translations of programs' messages (*.mo) and manual pages (man-db, passwd)
"""

import glob
import gettext
import gzip
import pathlib
import re
import sys
import sysconfig

SIZE = 1_000_000  # bytes


def english():
    for pattern in ("/usr/share/common-licenses/*", "/usr/share/vim/vim*/doc/usr_*.txt"):
        for path in sorted(glob.glob(pattern)):
            if not pathlib.Path(path).is_symlink():
                yield pathlib.Path(path).read_text(errors="ignore")


def code():
    for path in sorted(glob.glob(sysconfig.get_path("stdlib") + "/*.py")):
        yield pathlib.Path(path).read_text(errors="ignore")


def chinese():
    seen = set()
    for path in sorted(glob.glob("/usr/share/**/zh_CN/LC_MESSAGES/*.mo", recursive=True)):
        with open(path, "rb") as file:
            try:
                messages = gettext.GNUTranslations(file)._catalog.values()
            except (UnicodeError, LookupError):
                continue
        for message in messages:
            if re.search("[\u4e00-\u9fff]", message) and message not in seen:
                seen.add(message)
                yield message + "\n"
    for path in sorted(glob.glob("/usr/share/man/zh_CN/man*/*.gz")):
        text = gzip.open(path, "rt", errors="ignore").read()
        yield "".join(re.findall("[^\n]*[\u4e00-\u9fff][^\n]*\n", text))


def main():
    folder = pathlib.Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    for source in (english, code, chinese):
        text = b""
        for part in source():
            text += part.encode()
            if len(text) >= SIZE:
                break
        if not text:
            sys.exit(f"tokenizer_texts.py: this machine has none of the files for {source.__name__}")
        real = len(text)
        text = (text * (SIZE // real + 1))[:SIZE].decode(errors="ignore").encode()
        (folder / f"{source.__name__}.txt").write_bytes(text)
        print(f"{source.__name__}: {len(text)} bytes, {min(real, SIZE)} of them without repetition")


if __name__ == "__main__":
    main()
