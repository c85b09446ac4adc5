#!/usr/bin/env python3
"""Judges one report of the Autobahn TestSuite.

wstest exits 0 whatever happened: failed cases, a peer that died half way, no peer at all. So the report is held against
expected.json: every case of the chosen sections must be there, with the right `behavior` and the right `behaviorClose`.
"""

import argparse
import json
import pathlib
import sys

HERE = pathlib.Path(__file__).resolve().parent
VERDICTS = ["OK", "NON-STRICT", "INFORMATIONAL"]
FIELDS = ["behavior", "behaviorClose"]


def expected_cases(sections):
    """The right verdict of each case of `sections`, in the suite's order."""
    expected = json.loads((HERE / "expected.json").read_text())
    informational = set(expected["informational"])
    cases = {}
    for group, count in expected["groups"].items():
        if section_of(group) in sections:
            for number in range(1, count + 1):
                case = f"{group}.{number}"
                cases[case] = "INFORMATIONAL" if case in informational else "OK"
    return cases


def section_of(case):
    return case.split(".")[0]


def judge(results, expected, report=pathlib.Path()):
    """What is wrong with `results` (an agent's part of index.json), one line for each case; empty if all is right."""
    wrong = []
    for case, verdict in expected.items():
        result = results.get(case)
        if result is None:
            wrong.append(f"{case}: missing from the report")
        elif any(result.get(field) != verdict for field in FIELDS):
            got = ", ".join(f"{field} {result.get(field)}" for field in FIELDS)
            wrong.append(f"{case}: {got}; expected {verdict}; see {report / result.get('reportfile', '')}")
    wrong.extend(f"{case}: in the report, but not among the expected cases" for case in results if case not in expected)
    return wrong


def table(results, sections):
    """Verdicts counted per section, first for `behavior`, then for `behaviorClose`."""
    columns = VERDICTS + ["other"]
    widths = [len(column) + 2 for column in columns]

    def row(first, count, groups):
        cells = ["".join(f"{cell:>{width}}" for cell, width in zip(group, widths)) for group in groups]
        return f"{first:<8}{count:>6}  |" + "  |".join(cells)

    def counts(cases):
        groups = []
        for field in FIELDS:
            verdicts = [results[case].get(field) for case in cases]
            known = [verdicts.count(verdict) for verdict in VERDICTS]
            groups.append(known + [len(verdicts) - sum(known)])
        return groups

    titles = [f"{field:^{sum(widths)}}" for field in FIELDS]
    lines = [f"{'':14}  |" + "  |".join(titles), row("section", "cases", [columns, columns])]
    for section in sections:
        cases = [case for case in results if section_of(case) == section]
        lines.append(row(section, len(cases), counts(cases)))
    lines.append(row("all", len(results), counts(list(results))))
    return "\n".join(line.rstrip() for line in lines)


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("report", type=pathlib.Path, help="the folder that wstest wrote (its outdir)")
    parser.add_argument("agent", help="the agent's name in index.json")
    parser.add_argument("sections", nargs="+", help="the sections that were run, such as 1 2 10")
    options = parser.parse_args(arguments)

    try:
        index = json.loads((options.report / "index.json").read_text())
    except (OSError, ValueError) as error:
        print(f"FAILED: no readable index.json, so the suite did not get to its end: {error}")
        return 1
    results = index.get(options.agent, {})
    expected = expected_cases(options.sections)
    wrong = judge(results, expected, options.report)

    print(table(results, options.sections))
    for line in wrong:
        print(f"  {line}")
    if wrong or not expected:
        print(f"FAILED: {len(wrong)} wrong, {len(expected)} expected")
        return 1
    informational = sum(verdict == "INFORMATIONAL" for verdict in expected.values())
    print(f"passed: {len(expected) - informational} OK, {informational} INFORMATIONAL")
    return 0


if __name__ == "__main__":
    sys.exit(main())
