#!/usr/bin/env python3
"""The sets have to be the right ones, and the judge has to fail where a report is not, because wstest itself never does."""

import contextlib
import io
import json
import pathlib
import tempfile
import unittest

import judge

SECTIONS = "1 2 3 4 5 6 7 9 10 12 13".split()
AGENT = "peer"


def right_results(chosen="quick"):
    return {
        case: {"behavior": verdict, "behaviorClose": verdict, "reportfile": f"{case}.json"}
        for case, verdict in judge.expected_cases(chosen).items()
    }


def counts(chosen):
    """How many cases of each of the suite's sections are in the set."""
    cases = [judge.section_of(case) for case in judge.expected_cases(chosen)]
    return [cases.count(section) for section in SECTIONS]


class JudgeTest(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.report = pathlib.Path(folder.name) / AGENT
        self.report.mkdir()

    def run_judge(self, index, chosen="quick"):
        """The judge's exit code and what it printed."""
        if index is not None:
            text = index if isinstance(index, str) else json.dumps(index)
            (self.report / "index.json").write_text(text)
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            code = judge.main([chosen, str(self.report)])
        return code, printed.getvalue()

    def assert_fails(self, index, *texts, chosen="quick"):
        code, printed = self.run_judge(index, chosen)
        self.assertEqual(code, 1, printed)
        for text in texts:
            self.assertIn(text, printed)

    def test_a_right_report_passes(self):
        for chosen, ok in [("full", 514), ("quick", 382)]:
            code, printed = self.run_judge({AGENT: right_results(chosen)}, chosen)
            self.assertEqual(code, 0, printed)
            self.assertIn(f"passed: {ok} OK, 3 INFORMATIONAL", printed)

    def test_the_sets_have_the_right_cases(self):
        uncompressed = [16, 11, 7, 10, 20, 145, 37, 54, 1]
        self.assertEqual(counts("full"), uncompressed + [90, 126])
        self.assertEqual(counts("quick"), uncompressed + [5 * 7, 7 * 7])

    def test_the_quick_set_has_every_group_of_compression(self):
        groups = [f"12.{n}" for n in range(1, 6)] + [f"13.{n}" for n in range(1, 8)]
        cases = [f"{group}.{n}" for group in groups for n in [1, 2, 3, 4, 5, 6, 11]]
        quick = judge.expected_cases("quick")
        self.assertEqual([case for case in quick if case.startswith(("12.", "13."))], cases)

    def test_a_set_without_a_report_is_printed_for_wstest(self):
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            self.assertEqual(judge.main(["full"]), 0)
        self.assertEqual(json.loads(printed.getvalue()), list(judge.expected_cases("full")))
        self.assertEqual(printed.getvalue().count("\n"), 1)

    def test_a_missing_index_fails(self):
        self.assert_fails(None, "no readable index.json")

    def test_an_index_cut_short_fails(self):
        self.assert_fails('{"peer": {', "no readable index.json")

    def test_an_empty_index_fails(self):
        self.assert_fails({}, "385 wrong, 385 expected")

    def test_a_report_of_another_agent_fails(self):
        self.assert_fails({"other": right_results()}, "385 wrong")

    def test_a_missing_case_fails(self):
        results = right_results()
        del results["6.22.34"]
        self.assert_fails({AGENT: results}, "6.22.34: missing", "1 wrong")

    def test_a_case_that_is_not_expected_fails(self):
        results = right_results("full")
        self.assert_fails({AGENT: results}, "12.1.7: in the report", f"{517 - 385} wrong")

    def test_the_quick_set_is_not_the_full_one(self):
        self.assert_fails({AGENT: right_results()}, "13.7.18: missing", f"{517 - 385} wrong", chosen="full")

    def test_a_peer_without_compression_fails(self):
        results = right_results()
        results["12.1.1"]["behavior"] = results["13.7.11"]["behavior"] = "UNIMPLEMENTED"
        self.assert_fails({AGENT: results}, "12.1.1: behavior UNIMPLEMENTED", "13.7.11", "2 wrong")

    def test_one_non_strict_fails(self):
        results = right_results()
        results["6.4.1"]["behavior"] = "NON-STRICT"
        self.assert_fails({AGENT: results}, "6.4.1: behavior NON-STRICT", str(self.report / "6.4.1.json"))

    def test_one_failed_case_fails(self):
        results = right_results()
        results["2.5"]["behavior"] = "FAILED"
        self.assert_fails({AGENT: results}, "2.5: behavior FAILED", "1 wrong")

    def test_one_wrong_close_fails(self):
        results = right_results()
        results["7.3.6"]["behaviorClose"] = "WRONG CODE"
        self.assert_fails({AGENT: results}, "7.3.6: behavior OK, behaviorClose WRONG CODE")

    def test_informational_is_right_for_its_three_cases_only(self):
        results = right_results()
        results["7.1.5"]["behavior"] = "INFORMATIONAL"
        self.assert_fails({AGENT: results}, "7.1.5: behavior INFORMATIONAL", "1 wrong")

    def test_a_result_without_verdicts_fails(self):
        results = right_results()
        results["1.1.1"] = {}
        self.assert_fails({AGENT: results}, "1.1.1: behavior None")


if __name__ == "__main__":
    unittest.main()
