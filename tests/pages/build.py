#!/usr/bin/env python3
"""Builds every program of README.md and docs/ as a reader would: in a package of its own, with the dependencies that the page names.

A program is a block of `rust` that is not marked `ignore`. One that is marked `continued` belongs to the program before it. The
dependencies of a program are the last block of `toml` before it on its page.
The tests of the documentation build the programs too, but with all that bowline's own tests depend on.

    tests/pages/build.py [PAGE...]      without a page: all
"""

import argparse
import collections
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tomllib

ROOT = pathlib.Path(__file__).resolve().parents[2]
# They share with the rest what is built, and the versions of the repository's Cargo.lock.
TARGET = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")).absolute()
# Where the packages are written.
WORK = TARGET / "pages"
# Seconds that one package may take, its dependencies included.
LIMIT = 600

# A block of code: the line it begins at, the dependencies that hold there, its text.
Program = collections.namedtuple("Program", "line dependencies source")


class Wrong(Exception):
    """What is wrong with a page, with its place."""


def programs(page, text):
    """The programs of a page, in its order."""
    found, dependencies = [], None
    for block in re.finditer(r"^```(\S+)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
        kind, source = block.groups()
        line = text.count("\n", 0, block.start()) + 1
        words = kind.split(",")
        if words[0] == "toml":
            dependencies = dependencies_of(f"{page}:{line}", source)
        elif words[0] == "rust" and "ignore" not in words:
            if dependencies is None:
                raise Wrong(f"{page}:{line}: no dependencies are named before this program")
            if "continued" in words:
                if not found:
                    raise Wrong(f"{page}:{line}: there is no program before this to continue")
                found[-1] = found[-1]._replace(source=f"{found[-1].source}\n{source}")
            else:
                found.append(Program(line, dependencies, source))
    return found


def dependencies_of(place, source):
    """The lines of a block of TOML as the name and the requirement of each crate, in a form that can be compared."""
    try:
        table = tomllib.loads(source)
    except tomllib.TOMLDecodeError as error:
        raise Wrong(f"{place}: {error}") from error
    table = table.get("dependencies", table)
    found = {}
    for name, requirement in table.items():
        if isinstance(requirement, str):
            requirement = {"version": requirement}
        if "version" not in requirement:
            raise Wrong(f"{place}: no version for {name}")
        found[name] = requirement
    if "bowline" not in found:
        raise Wrong(f"{place}: bowline is not among the dependencies")
    return json.dumps(found, sort_keys=True)


def manifest(name, dependencies):
    """The Cargo.toml of a package. Cargo holds the version that the page names against the one of the path."""
    lines = ["[package]", f'name = "{name}"', 'version = "0.0.0"', 'edition = "2024"', "", "[dependencies]"]
    for crate, requirement in json.loads(dependencies).items():
        if crate == "bowline":
            requirement = {**requirement, "path": str(ROOT)}
        fields = ", ".join(f"{key} = {json.dumps(value)}" for key, value in requirement.items())
        lines.append(f"{crate} = {{ {fields} }}")
    return "\n".join(lines) + "\n"


def write_packages(pages):
    """Writes a package for each set of dependencies. Returns a row for each program: package, name of the binary, place."""
    packages, rows = {}, []
    shutil.rmtree(WORK / "packages", ignore_errors=True)
    for page, text in pages.items():
        for program in programs(page, text):
            package = packages.setdefault(program.dependencies, f"p{len(packages) + 1}")
            folder = WORK / "packages" / package
            binaries = folder / "src/bin"
            binaries.mkdir(parents=True, exist_ok=True)
            (folder / "Cargo.toml").write_text(manifest(package, program.dependencies))
            name = f"{pathlib.Path(page).stem.lower()}_{program.line}".replace("-", "_")
            source = program.source
            if not re.search(r"^(async )?fn main\(", source, re.MULTILINE):
                # A part of a program. What it does not use itself is for the rest of it.
                source = f"#![allow(dead_code)]\n{source}\nfn main() {{}}\n"
            (binaries / f"{name}.rs").write_text(source)
            rows.append((package, name, f"{page}:{program.line}"))
    # With another profile, all dependencies would be built once more.
    own = (ROOT / "Cargo.toml").read_text()
    profile = own[own.index("[profile.dev]") : own.index("[profile.release]")]
    (WORK / "packages/Cargo.toml").write_text(f'[workspace]\nresolver = "3"\nmembers = ["p*"]\n\n{profile}')
    shutil.copy(ROOT / "Cargo.lock", WORK / "packages/Cargo.lock")
    return rows


def build(rows):
    """Builds package after package, so that none gets the features that another asks for. Returns how many programs failed."""
    failed = 0
    packages = {}
    for package, name, place in rows:
        packages.setdefault(package, []).append((name, place))
    for package, binaries in packages.items():
        # All at once is faster. Only one by one tells which of them fails.
        whole = check(package, "--bins", quiet=len(binaries) > 1)
        for name, place in binaries:
            passed = whole if whole or len(binaries) == 1 else check(package, "--bin", name)
            print(f"{'ok    ' if passed else 'FAILED'}  {place}", flush=True)
            if not passed:
                failed += 1
                print((WORK / "packages" / package / "Cargo.toml").read_text())
    return failed


def check(package, *what, quiet=False):
    """Whether these programs of a package compile."""
    command = ["cargo", "check", "--quiet", "-p", package, *what]
    environment = {**os.environ, "CARGO_TARGET_DIR": str(TARGET)}
    output = {"stderr": subprocess.DEVNULL} if quiet else {}
    return subprocess.run(command, cwd=WORK / "packages", env=environment, timeout=LIMIT, **output).returncode == 0


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("pages", nargs="*", metavar="PAGE", help="such as README.md or docs/embedding.md")
    named = parser.parse_args().pages or [
        str(file.relative_to(ROOT)) for file in sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")])
    ]
    try:
        rows = write_packages({page: (ROOT / page).read_text() for page in named})
    except Wrong as error:
        print(f"FAILED: {error}")
        return 1
    failed = build(rows)
    print(f"{len(rows) - failed} passed, {failed} failed")
    # No program at all is a failure too.
    return 0 if rows and not failed else 1


if __name__ == "__main__":
    sys.exit(main())
