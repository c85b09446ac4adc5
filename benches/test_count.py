#!/usr/bin/env python3
"""A check of counts has to fail where a row got dearer or is missing, and has to say what it compared."""

import contextlib
import importlib.machinery
import importlib.util
import io
import pathlib
import tempfile
import unittest
from unittest import mock

import saved

# It has no name that `import` takes.
LOADER = importlib.machinery.SourceFileLoader("count", str(pathlib.Path(__file__).with_name("count")))
count = importlib.util.module_from_spec(importlib.util.spec_from_loader("count", LOADER))
LOADER.exec_module(count)

HERE = {"rustc": "1.95.0", "libc": "glibc 2.36", "valgrind": "3.19.0", "processor": "x86_64 avx avx2"}
SAVED = {
    "receive 16 B, bare": 100,
    "receive 16 B, lent": 200,
    "receive 1 KiB, lent": 1000,
    "echo by tokio 16 B, lent": 300,
}


class CheckTest(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.file = pathlib.Path(folder.name) / "count.json"

    def save(self, counts=SAVED, counted_with=HERE):
        figures = [dict(zip(("table", "row", "column"), count.place(name)), value=value) for name, value in counts.items()]
        saved.save(self.file, "benches/count", figures, None, counted_with)

    def check(self, counts=SAVED, here=HERE, pattern=""):
        """The exit code and what is printed, where `counts` is what a run would find."""
        printed = io.StringIO()

        def counted(wanted):
            return [(name, value) for name, value in counts.items() if wanted(name)]

        with (
            contextlib.redirect_stdout(printed),
            mock.patch.object(count, "count", counted),
            mock.patch.object(count, "toolchain", lambda: here),
        ):
            code = count.check(self.file, pattern)
        return code, printed.getvalue()

    def test_counts_as_saved_pass(self):
        self.save()
        code, text = self.check()
        self.assertEqual(code, 0)
        self.assertIn("3 rows compared, at most 1 % more is allowed: 0 faults", text)

    def test_a_row_that_is_over_by_more_than_a_hundredth_fails(self):
        self.save()
        self.assertEqual(self.check(SAVED | {"receive 1 KiB, lent": 1010})[0], 0)
        code, text = self.check(SAVED | {"receive 1 KiB, lent": 1011})
        self.assertEqual(code, 1)
        self.assertIn("FAILED: receive 1 KiB, lent: 1011.0 instructions, 1.1 % over the 1000.0 that are saved", text)

    def test_the_bare_loop_is_not_ours_to_check(self):
        self.save()
        self.assertEqual(self.check(SAVED | {"receive 16 B, bare": 900})[0], 0)

    def test_a_row_that_is_lower_passes_and_is_told(self):
        self.save()
        code, text = self.check(SAVED | {"receive 1 KiB, lent": 900})
        self.assertEqual(code, 0)
        self.assertIn("1 rows are lower", text)

    def test_a_saved_row_that_is_no_more_there_fails(self):
        self.save()
        code, text = self.check({name: value for name, value in SAVED.items() if "tokio" not in name})
        self.assertEqual(code, 1)
        self.assertIn("echo by tokio 16 B, lent: saved, but the benchmark has no such row", text)

    def test_a_row_that_was_not_saved_fails(self):
        self.save({name: value for name, value in SAVED.items() if "tokio" not in name})
        code, text = self.check()
        self.assertEqual(code, 1)
        self.assertIn("echo by tokio 16 B, lent: counted, but not saved", text)

    def test_nothing_compared_is_no_success(self):
        self.save()
        code, text = self.check(pattern="no such row")
        self.assertEqual(code, 1)
        self.assertIn("no row was counted", text)

    def test_another_toolchain_has_more_room_and_is_named(self):
        self.save()
        there = HERE | {"rustc": "1.96.0"}
        code, text = self.check(SAVED | {"receive 1 KiB, lent": 1099}, there)
        self.assertEqual(code, 0)
        self.assertIn("rustc is 1.96.0, saved with 1.95.0", text)
        self.assertIn("3 rows compared, at most 10 % more is allowed", text)
        self.assertEqual(self.check(SAVED | {"receive 1 KiB, lent": 1101}, there)[0], 1)

    def test_on_another_processor_only_short_messages_count(self):
        self.save()
        there = HERE | {"processor": "x86_64 avx"}
        code, text = self.check(SAVED | {"receive 1 KiB, lent": 9000}, there)
        self.assertEqual(code, 0)
        self.assertIn("2 rows of short messages compared, at most 10 % more", text)
        self.assertEqual(self.check(SAVED | {"receive 16 B, lent": 221}, there)[0], 1)

    def test_a_file_that_does_not_say_what_made_it_has_more_room(self):
        self.save(counted_with=None)
        _, text = self.check()
        self.assertIn("rustc is 1.95.0, saved with unknown", text)
        self.assertIn("at most 10 % more", text)


class ToolchainTest(unittest.TestCase):
    def test_the_build_is_not_changed_by_flags_of_the_caller(self):
        flags = {"RUSTFLAGS": "-C target-cpu=native", "CARGO_PROFILE_BENCH_LTO": "true", "CARGO_INCREMENTAL": "1", "HOME": "/"}
        with mock.patch.dict("os.environ", flags, clear=True):
            self.assertEqual(count.environment(), {"HOME": "/", "CARGO_INCREMENTAL": "0"})


if __name__ == "__main__":
    unittest.main()
