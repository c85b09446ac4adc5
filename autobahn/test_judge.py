#!/usr/bin/env python3
"""The judge has to fail whenever a report is not the right one, because wstest itself never does."""

import contextlib
import io
import json
import pathlib
import tempfile
import unittest

import judge

SECTIONS = "1 2 3 4 5 6 7 9 10".split()
AGENT = "peer"


def right_results(sections=SECTIONS):
    return {
        case: {"behavior": verdict, "behaviorClose": verdict, "reportfile": f"{case}.json"}
        for case, verdict in judge.expected_cases(sections).items()
    }


class JudgeTest(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.report = pathlib.Path(folder.name)

    def run_judge(self, index):
        """The judge's exit code and what it printed."""
        if index is not None:
            text = index if isinstance(index, str) else json.dumps(index)
            (self.report / "index.json").write_text(text)
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            code = judge.main([str(self.report), AGENT, *SECTIONS])
        return code, printed.getvalue()

    def assert_fails(self, index, *texts):
        code, printed = self.run_judge(index)
        self.assertEqual(code, 1, printed)
        for text in texts:
            self.assertIn(text, printed)

    def test_a_right_report_passes(self):
        code, printed = self.run_judge({AGENT: right_results()})
        self.assertEqual(code, 0, printed)
        self.assertIn("passed: 298 OK, 3 INFORMATIONAL", printed)

    def test_the_expected_cases_are_those_of_the_suite(self):
        sections = SECTIONS + ["12", "13"]
        cases = [judge.section_of(case) for case in judge.expected_cases(sections)]
        counts = [cases.count(section) for section in sections]
        self.assertEqual(counts, [16, 11, 7, 10, 20, 145, 37, 54, 1, 90, 126])

    def test_a_missing_index_fails(self):
        self.assert_fails(None, "no readable index.json")

    def test_an_index_cut_short_fails(self):
        self.assert_fails('{"peer": {', "no readable index.json")

    def test_an_empty_index_fails(self):
        self.assert_fails({}, "301 wrong, 301 expected")

    def test_a_report_of_another_agent_fails(self):
        self.assert_fails({"other": right_results()}, "301 wrong")

    def test_a_missing_case_fails(self):
        results = right_results()
        del results["6.22.34"]
        self.assert_fails({AGENT: results}, "6.22.34: missing", "1 wrong")

    def test_a_case_that_is_not_expected_fails(self):
        results = right_results(SECTIONS + ["12"])
        self.assert_fails({AGENT: results}, "12.1.1: in the report", "90 wrong")

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
