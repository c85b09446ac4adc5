#!/usr/bin/env python3
"""The report has to say what was saved, and nothing else: right ratios, no stale region, no figure that is not there."""

import contextlib
import importlib.machinery
import importlib.util
import io
import json
import pathlib
import platform
import tempfile
import unittest
import xml.etree.ElementTree

import saved

# It has no name that `import` takes.
LOADER = importlib.machinery.SourceFileLoader("report", str(pathlib.Path(__file__).with_name("report")))
report = importlib.util.module_from_spec(importlib.util.spec_from_loader("report", LOADER))
LOADER.exec_module(report)

HEAD = {
    "command": "measure it",
    "date": "2026-01-02",
    "machine": {
        "processor": "Some CPU, family 1, model 2",
        "virtual": False,
        "cores": 1,
        "kernel": "Linux 6.1",
        "rustc": "1.90.0",
    },
    "libraries": {"yawc": "0.5.0"},
}
CORE = "bowline core "


def figure(table, row, column, value, **more):
    return {"table": table, "row": row, "column": column, "value": value, **more}


def received(row, **columns):
    names = {"borrowed": CORE + "borrowed", "owned": CORE + "owned"}
    return [figure("peers receive", row, names.get(name, name), value) for name, value in columns.items()]


def echoed(**servers):
    title = "Echo of 16 B: µs of the server's processor for a message"
    return [figure(title, name.replace("_", "-"), "16 x 16", value, spread=1.5) for name, value in servers.items()]


class ReportTest(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)
        self.document, self.picture = self.folder / "page.md", self.folder / "page.svg"
        names = [report.MACHINES, *report.REGIONS]
        regions = "\n".join(f"<!-- generated: {name} -->\nold\n<!-- end -->\nby hand: {name}" for name in names)
        self.document.write_text(f"# Title\n\n{regions}\n")
        self.results = self.folder / "results"
        self.results.mkdir()

    def save(self, name, figures, **more):
        saved.write(self.results / f"{name}.json", HEAD | more, figures)

    def files(self):
        return report.made(saved.load_all(self.results), self.document, self.picture)

    def write(self):
        """The document as it is then."""
        report.put(self.files())
        return self.document.read_text()

    def right(self):
        with contextlib.redirect_stdout(io.StringIO()):
            return report.check(self.files())

    def rows(self, text, name):
        """The cells of each row of that name."""
        lines = [line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith("|")]
        return [cells[1:] for cells in lines if cells[0] == name]

    def test_what_is_written_is_right_and_stays_so(self):
        self.save("echo", echoed(bare=1.0, bowline=2.0))
        self.assertFalse(self.right())
        text = self.write()
        self.assertTrue(self.right())
        self.assertEqual(self.write(), text)
        self.assertNotIn("old", text)
        for name in [report.MACHINES, *report.REGIONS]:
            self.assertIn(f"<!-- end -->\nby hand: {name}\n", text)

    def test_check_fails_where_anything_differs(self):
        self.save("echo", echoed(bare=1.0, bowline=2.0))
        text = self.write()
        for wrong in (text.replace("2.00", "1.99"), text.replace("| 2.00 ", "", 1)):
            self.assertNotEqual(wrong, text)
            self.document.write_text(wrong)
            self.assertFalse(self.right())
        self.document.write_text(text)
        self.assertTrue(self.right())
        self.picture.write_text(self.picture.read_text() + " ")
        self.assertFalse(self.right())
        self.picture.unlink()
        self.assertFalse(self.right())
        self.write()
        self.save("echo", echoed(bare=1.0, bowline=2.1))
        self.assertFalse(self.right())

    def test_what_was_not_measured_says_so(self):
        text = self.write()
        for name in ("in_memory", "core", "echo", "broadcast", "idle", "allocations", "deflate", "count"):
            self.assertIn(f"Not measured yet: there is no {name}.json.", text)
        self.assertFalse(self.picture.exists())
        self.save("core", [figure("utf8", "ascii 16 B", "std", 2.0)])
        self.assertIn("Not measured yet: core.json has none of these figures.", self.write())

    def test_a_chart_without_figures_goes_away(self):
        self.save("echo", echoed(bare=1.0))
        self.write()
        self.assertTrue(self.picture.exists())
        (self.results / "echo.json").unlink()
        self.assertFalse(self.right())
        self.assertNotIn("page.svg", self.write())
        self.assertFalse(self.picture.exists())

    def test_regions_have_to_be_whole_known_and_there_once(self):
        text = self.document.read_text()
        begin = "<!-- generated: idle -->\n"
        for wrong in (
            text.replace(begin, ""),
            text.replace(begin, begin + "x\n<!-- end -->\n" + begin),
            text.replace(begin, "<!-- generated: idle2 -->\n"),
            text.replace(begin + "old\n<!-- end -->", begin + "old"),
            text + "<!-- end -->\n",
        ):
            self.document.write_text(wrong)
            with self.assertRaises(SystemExit):
                self.files()
            self.assertEqual(self.document.read_text(), wrong)

    def test_ratios_are_to_the_fastest_peer_of_the_kind_and_to_the_bare_loop(self):
        peers = {"some_peer": 40, "other_peer": 20, "wtx": 25, "ws-tool": 50}
        self.save("in_memory", received("16 B", floor=1, bare=4, borrowed=10, owned=30, **peers))
        text = self.write()
        self.assertIn("| bowline, lent | ws-tool | wtx | lent / bare | lent / best peer |", text)
        self.assertIn("| bowline, owned | other_peer | some_peer | owned / bare | owned / best peer |", text)
        rows = self.rows(text, "16 B")
        self.assertIn(["1.0", "4.0", "10.0", "50.0", "25.0", "2.50", "0.40 (wtx)"], rows)
        self.assertIn(["1.0", "4.0", "30.0", "20.0", "40.0", "7.50", "1.50 (other_peer)"], rows)

    def test_each_row_names_its_own_fastest_peer(self):
        sent = [("16 B", {"send": 10, "peer": 20, "wtx": 40}), ("1 KiB", {"send": 10, "peer": 40, "wtx": 5})]
        names = {"send": CORE + "send"}
        table = "peers send as client"
        self.save("in_memory", [figure(table, row, names.get(n, n), v) for row, columns in sent for n, v in columns.items()])
        text = self.write()
        self.assertEqual([cells[-1] for cells in self.rows(text, "16 B")], ["0.50 (peer)"])
        self.assertEqual([cells[-1] for cells in self.rows(text, "1 KiB")], ["2.00 (wtx)"])
        self.assertIn("- **Ahead** (up to 0.9): sending as a client: 16 B 0.50 (peer).\n", text)
        self.assertIn("- **Behind** (above 1.1): sending as a client: 1 KiB 2.00 (wtx).\n", text)

    def test_peers_that_lend_are_known_libraries(self):
        self.assertLessEqual(report.LENDING, set(saved.LIBRARIES))

    def test_what_is_missing_is_a_dash(self):
        self.save("in_memory", received("16 B", borrowed=10, wtx=20) + received("1 KiB", borrowed=12_345, owned=2e6))
        text = self.write()
        self.assertEqual(
            self.rows(text, "16 B")[:2],
            [["-", "-", "10.0", "20.0", "-", "0.50 (wtx)"], ["10.0", "-", "-", "-", "-", "-"]],
        )
        self.assertIn(["-", "-", "12.3 µs", "-", "-", "-"], self.rows(text, "1 KiB"))
        self.assertIn(["-", "-", "2.00 ms", "-", "-"], self.rows(text, "1 KiB"))

    def test_a_table_has_only_rows_that_it_has_a_column_for(self):
        figures = [figure("mask", "16 B at 0", "byte loop", 5.0)]
        figures += [figure("mask", "16 B at 6", kernel, value) for kernel, value in (("16 bytes at once", 8.0), ("AVX2", 4.0))]
        self.save("core", figures)
        text = self.write()
        self.assertEqual(self.rows(text, "16 B at 0"), [["-", "-", "5.0"]])
        self.assertEqual(self.rows(text, "16 B at 6"), [["8.0", "4.0", "-", "0.50", "-"]])

    def test_ahead_even_and_behind_are_as_shown(self):
        values = {"a": 0.904, "b": 0.906, "c": 1.104, "d": 1.106}
        self.save("in_memory", [f for row, value in values.items() for f in received(row, borrowed=value, bare=1 / 1.3, wtx=1)])
        text = self.write()
        self.assertIn("- **Ahead** (up to 0.9): receiving lent: a 0.90 (wtx).\n", text)
        self.assertIn("- **Ties**: receiving lent: b 0.91 (wtx), c 1.10 (wtx).\n", text)
        self.assertIn("- **Behind** (above 1.1): receiving lent: d 1.11 (wtx).\n", text)
        self.assertIn("- **Met**: receiving lent: a 1.18, b 1.18.\n", text)
        self.assertIn("- **Not met**: receiving lent: c 1.44, d 1.44.\n", text)

    def test_lent_and_owned_are_held_against_their_own_kind(self):
        columns = {"borrowed": 10, "owned": 30, "bowline tokio": 40, "bowline tokio borrowed": 12}
        self.save("in_memory", received("16 B", **columns, peer=20, wtx=50))
        text = self.write()
        self.assertIn("- **Ahead** (up to 0.9): receiving lent: 16 B 0.20 (wtx).\n", text)
        self.assertIn("- **Behind** (above 1.1): receiving owned: 16 B 1.50 (peer).\n", text)
        self.assertIn("- **Ahead**: `recv_borrowed`: 16 B 0.24 (wtx).\n", text)
        self.assertIn("- **Behind**: `recv`: 16 B 2.00 (peer).\n", text)
        self.assertIn("Lent messages are held against the peers that lend them: wtx.\n", text)
        self.assertIn("Owned messages are held against the peers that own them: peer.\n", text)

    def test_where_no_peer_lends_nothing_is_said_of_lent_messages(self):
        self.save("in_memory", received("16 B", borrowed=10, owned=30, peer=20))
        text = self.write()
        self.assertIn("Lent messages are held against none: no peer that lends them was measured.\n", text)
        self.assertIn("- **Ahead** (up to 0.9): nothing.\n", text)

    def test_compressed_echo_names_the_peer_whose_answers_are_alike(self):
        def echoes(row, time, answer, ratio):
            columns = {"1 KiB, µs": time, "1 KiB: answer, %": answer, "1 KiB / best peer": ratio}
            return [figure("Connections: 1", row, column, value) for column, value in columns.items()]

        rows = [("bowline, default", 10, 25.0, 0.5), ("sockudo-ws", 20, 25.2, 1.0), ("yawc", 5, 50.0, 1.0), ("yawc, pool", 1, 25, 1)]
        self.save("deflate", [f for row in rows for f in echoes(*row)])
        text = self.write()
        self.assertEqual(self.rows(text, "bowline, default"), [["10.0", "25.0", "0.50 (sockudo-ws)"]])
        self.assertEqual(self.rows(text, "yawc"), [["5.00", "50.0", "1.00 (yawc)"]])

    def test_echo_is_beside_the_bare_loop(self):
        beside = figure("Echo of 16 B: µs of the server's processor for a message", "bowline", "16 x 16 / bare", 1.25)
        self.save("echo", [*echoed(raw=0.4, bare=0.5, bowline=0.6), beside])
        text = self.write()
        self.assertIn("|  | 16 x 16 | / bare |", text)
        self.assertIn(["0.60", "1.25"], self.rows(text, "bowline"))
        self.assertIn(["0.40", "-"], self.rows(text, "raw"))

    def test_allocations_are_shown_as_they_are(self):
        figures = [figure("Allocations for each message", "some-peer", "receive 16 B, owned", 0.0001)]
        figures += [figure("Allocations of an opening handshake", "some-peer", "accept: bytes", 2052.0)]
        self.save("allocations", figures)
        text = self.write()
        self.assertIn("#### Allocations for each message\n\n|  | receive 16 B, owned |\n", text)
        self.assertEqual(self.rows(text, "some-peer"), [["0"], ["2052"]])

    def test_figures_say_where_they_are_from(self):
        self.save("echo", echoed(bare=1.0), method="Some rounds")
        text = self.write()
        self.assertIn("`measure it`, 2026-01-02. Some rounds.", text)
        self.assertIn("1.50 times in the middle row", text)
        self.assertIn("- echo: 2026-01-02, 1 core, Some CPU, family 1, model 2; Linux 6.1; rustc 1.90.0. yawc 0.5.0.\n", text)

    def test_files_of_one_machine_and_day_share_a_line(self):
        self.save("echo", echoed(bare=1.0))
        self.save("idle", [figure("idle", "bare", "B", 1)], libraries={"tokio": "1.0.0"})
        self.save("count", [figure("receive", "16 B", "bare", 1)], date="2026-01-03")
        text = self.write()
        self.assertIn("- echo, idle: 2026-01-02", text)
        self.assertIn("tokio 1.0.0, yawc 0.5.0.", text)
        self.assertIn("- count: 2026-01-03", text)

    def test_the_chart_has_each_server_in_proportion(self):
        figures = echoed(bare=1.0, bowline=2.0, some_peer=8.0)
        figures.append(figure("Echo of 1024 B: µs", "slow", "16 x 16", 99))
        self.save("echo", figures)
        self.assertIn("(page.svg)", self.write())
        root = xml.etree.ElementTree.fromstring(self.picture.read_text())
        texts = [text.text for text in root.iterfind(".//{*}text")]
        for expected in ("Echo of 16 B messages over loopback", "bare", "bowline", "some-peer", "1.00", "2.00", "8.00"):
            self.assertIn(expected, texts)
        self.assertNotIn("slow", texts)
        bars = [float(rect.get("width")) for rect in root.iterfind(".//{*}rect")][len(report.COLOURS) :]
        self.assertEqual(len(bars), 3)
        self.assertAlmostEqual(bars[2] / bars[1], 4, delta=0.05)
        self.assertLess(150 + bars[2], float(root.get("width")))

    def test_a_report_of_its_own_has_all_regions(self):
        self.save("echo", echoed(bare=1.0))
        report.put(report.apart(self.results))
        text = (self.results / "report.md").read_text()
        for title, *_ in report.REGIONS.values():
            self.assertIn(f"## {title}\n", text)
        self.assertTrue((self.results / "report.svg").exists())

    def test_files_that_are_none_are_refused(self):
        twice = [figure("receive", "16 B", "bare", 1), figure("receive", "16 B", "bare", 2)]
        good = HEAD | {"figures": [figure("receive", "16 B", "bare", 1)]}
        wrong = ["", "[]", json.dumps({"figures": []}), json.dumps(HEAD | {"figures": twice})]
        wrong.append(json.dumps(good).replace('"value": 1', '"value": "fast"'))
        wrong.append(json.dumps(good).replace('"kernel"', '"core"'))
        file = self.results / "count.json"
        for text in wrong:
            file.write_text(text)
            with self.assertRaises(SystemExit, msg=text):
                saved.load(file)
        file.write_text(json.dumps(good))
        saved.load(file)

    def test_what_is_saved_is_read_again_and_names_no_host(self):
        file = self.results / "count.json"
        value = 1 / 3
        saved.save(file, "count", [figure("receive", "16 B", "bare", value, spread=1.25)], "Exactly")
        found = saved.load(file)
        self.assertEqual(found.tables, {"receive": {"16 B": {"bare": value}}})
        self.assertEqual((found.command, found.method, found.spreads), ("count", "Exactly", {"receive": [1.25]}))
        self.assertIn("bowline", found.libraries)
        self.assertEqual(set(found.machine), {"processor", "virtual", "cores", "kernel", "rustc"})
        self.assertRegex(found.machine["kernel"], r"^\w+ [0-9.]+$")
        self.assertNotIn(f'"{platform.node()}"', file.read_text())

    def test_both_writers_name_the_same_libraries(self):
        source = (saved.ROOT / "benches/peers/examples/sockets/save.rs").read_text()
        there = source.partition("const LIBRARIES: &[&str] = &[")[2].partition("]")[0]
        self.assertEqual([name.strip(' "\n') for name in there.rstrip(",\n ").split(",")], saved.LIBRARIES)


class CriterionTest(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)

    def ran(self, group, function, run, median, samples=((1.0, 1.0),)):
        folder = self.folder / group / function / run
        folder.mkdir(parents=True)
        (folder / "benchmark.json").write_text(json.dumps({"group_id": group, "function_id": function}))
        (folder / "estimates.json").write_text(json.dumps({"median": {"point_estimate": median}}))
        times, counts = zip(*samples)
        (folder / "sample.json").write_text(json.dumps({"times": times, "iters": counts}))

    def collect(self, *runs, lowest=False):
        with contextlib.redirect_stderr(io.StringIO()) as self.said:
            return report.collect(self.folder, runs, lowest)

    def test_groups_are_found_by_how_their_names_begin(self):
        for group in (
            "peers receive text 1 KiB",
            "receive 16 B",
            "deflate receive 12 bits, 1 KiB",
            "handshake as server",
            "news 1",
        ):
            self.ran(group, "floor", "new", 1.0)
        found = {name: [(f["table"], f["row"]) for f in figures] for name, figures in self.collect("new").items()}
        self.assertEqual(found["in_memory"], [("peers receive", "text 1 KiB")])
        core = [("receive", "16 B"), ("deflate receive", "12 bits, 1 KiB"), ("handshake", "as server")]
        self.assertEqual(found["core"], core)
        self.assertIn("left out: news 1", self.said.getvalue())

    def test_rows_are_in_the_order_of_size(self):
        for size in ("1 MiB", "16 KiB", "16 B", "text 1 KiB", "125 B", "1 KiB"):
            self.ran(f"receive {size}", "bare", "new", 1.0)
        rows = [figure["row"] for figure in self.collect("new")["core"]]
        self.assertEqual(rows, ["16 B", "125 B", "1 KiB", "16 KiB", "1 MiB", "text 1 KiB"])

    def test_several_runs_give_their_median_and_how_far_they_are_apart(self):
        for run, median in (("one", 10.0), ("two", 30.0), ("three", 11.0), ("other", 99.0)):
            self.ran("mask 16 B at 0", "bowline", run, median)
        [found] = self.collect("one", "two", "three")["core"]
        self.assertEqual((found["value"], found["spread"]), (11.0, 3.0))
        [found] = self.collect("one")["core"]
        self.assertNotIn("spread", found)

    def test_the_lowest_sample_of_all_runs(self):
        self.ran("mask 16 B at 0", "bowline", "one", 10.0, [(30.0, 3.0), (16.0, 2.0)])
        self.ran("mask 16 B at 0", "bowline", "two", 9.0, [(90.0, 10.0)])
        [found] = self.collect("one", "two", lowest=True)["core"]
        self.assertEqual((found["value"], found["spread"]), (8.0, 1.125))


if __name__ == "__main__":
    unittest.main()
