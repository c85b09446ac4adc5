#!/usr/bin/env python3
"""The rules of build.py, each with a page that breaks it; and a program that fails must fail the script."""

import contextlib
import io
import json
import sys
import tomllib
import unittest
from unittest import mock

import build

NAMES_BOWLINE = '```toml\nbowline = { version = "0.1", features = ["tokio"] }\n```\n'
PROGRAM = "```rust,no_run\nfn main() {}\n```\n"


class ProgramsTest(unittest.TestCase):
    def test_a_program_has_the_last_dependencies_before_it(self):
        page = f'{NAMES_BOWLINE}{PROGRAM}```toml\n[dependencies]\nbowline = "0.1"\n```\n{PROGRAM}'
        found = [json.loads(program.dependencies) for program in build.programs("page.md", page)]
        self.assertEqual(found, [{"bowline": {"features": ["tokio"], "version": "0.1"}}, {"bowline": {"version": "0.1"}}])

    def test_a_program_is_told_by_its_line(self):
        self.assertEqual([program.line for program in build.programs("page.md", f"# Page\n\n{NAMES_BOWLINE}{PROGRAM}")], [6])

    def test_what_is_ignored_and_other_languages_are_no_programs(self):
        page = PROGRAM.replace("no_run", "ignore") + PROGRAM.replace("rust,no_run", "sh")
        self.assertEqual(build.programs("page.md", page), [])

    def test_a_program_goes_on_in_blocks_that_say_so(self):
        more = "```rust,continued\nfn more() {}\n```\n"
        [program] = build.programs("page.md", f"{NAMES_BOWLINE}{PROGRAM}\ntext\n\n{more}")
        self.assertEqual(program.source, "fn main() {}\n\nfn more() {}\n")
        with self.assertRaisesRegex(build.Wrong, "page.md:4: there is no program"):
            build.programs("page.md", NAMES_BOWLINE + more)

    def test_a_program_without_dependencies_is_refused(self):
        with self.assertRaisesRegex(build.Wrong, "page.md:1: no dependencies"):
            build.programs("page.md", PROGRAM + NAMES_BOWLINE)

    def test_dependencies_without_bowline_a_version_or_sense_are_refused(self):
        for text, message in [
            ('tokio = "1"', "bowline is not among"),
            ('bowline = { features = ["tokio"] }', "no version for bowline"),
            ("bowline = 0.1.0", "page.md:3"),
        ]:
            with self.assertRaisesRegex(build.Wrong, message):
                build.programs("page.md", f"\n\n```toml\n{text}\n```\n")

    def test_a_manifest_has_what_the_page_names_and_nothing_else(self):
        [program] = build.programs("page.md", NAMES_BOWLINE + PROGRAM)
        written = tomllib.loads(build.manifest("p1", program.dependencies))
        self.assertEqual(
            written["dependencies"],
            {"bowline": {"version": "0.1", "features": ["tokio"], "path": str(build.ROOT)}},
        )

    def test_every_page_of_the_documentation_has_its_rules_kept(self):
        for file in [*build.ROOT.glob("*.md"), *build.ROOT.glob("docs/*.md")]:
            build.programs(file.name, file.read_text())


class MainTest(unittest.TestCase):
    def run_main(self, rows, *codes):
        """The exit code of the script, where cargo ends with these codes."""
        results = [mock.Mock(returncode=code) for code in codes]
        with (
            mock.patch.object(build, "write_packages", return_value=rows),
            mock.patch.object(build.pathlib.Path, "read_text", return_value=""),
            mock.patch.object(build.subprocess, "run", side_effect=results),
            mock.patch.object(sys, "argv", ["build.py", "README.md"]),
            contextlib.redirect_stdout(io.StringIO()),
        ):
            return build.main()

    def test_it_passes_where_all_packages_build(self):
        self.assertEqual(self.run_main([("p1", "a", "README.md:1"), ("p1", "b", "README.md:9"), ("p2", "c", "a.md:3")], 0, 0), 0)

    def test_it_fails_where_one_does_not_or_there_is_none(self):
        self.assertEqual(self.run_main([("p1", "a", "README.md:1")], 101), 1)
        # All of the package, then one by one.
        self.assertEqual(self.run_main([("p1", "a", "README.md:1"), ("p1", "b", "README.md:9")], 101, 101, 0), 1)
        self.assertEqual(self.run_main([("p1", "a", "README.md:1"), ("p1", "b", "README.md:9")], 101, 0, 101), 1)
        self.assertEqual(self.run_main([]), 1)

    def test_it_says_which_program_fails(self):
        with mock.patch.object(build, "check", side_effect=[False, True, False]), contextlib.redirect_stdout(io.StringIO()) as said:
            with mock.patch.object(build.pathlib.Path, "read_text", return_value=""):
                self.assertEqual(build.build([("p1", "a", "README.md:1"), ("p1", "b", "README.md:9")]), 1)
        self.assertIn("ok      README.md:1", said.getvalue())
        self.assertIn("FAILED  README.md:9", said.getvalue())


if __name__ == "__main__":
    unittest.main()
