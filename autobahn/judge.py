#!/usr/bin/env python3
"""Lists the cases of a set of the Autobahn TestSuite, or judges one report of that set.

wstest exits 0 whatever happened: failed cases, a peer that died half way, no peer at all. So the report is held against
expected.json: every case of the set must be there, with the right `behavior` and the right `behaviorClose`.
"""

import argparse
import json
import pathlib
import sys

HERE = pathlib.Path(__file__).resolve().parent
# All cases, and all but most of compression.
SETS = ["full", "quick"]
VERDICTS = ["OK", "NON-STRICT", "INFORMATIONAL"]
FIELDS = ["behavior", "behaviorClose"]


def expected_cases(chosen):
    """The right verdict of each case of the set `chosen`, in the suite's order."""
    expected = json.loads((HERE / "expected.json").read_text())
    informational = set(expected["informational"])
    cases = {}
    for group, count in expected["groups"].items():
        numbers = range(1, count + 1)
        if chosen == "quick" and section_of(group) in expected["compression"]:
            numbers = expected["quick"]
        for number in numbers:
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


def table(results, expected):
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
    for section in sorted({section_of(case) for case in [*expected, *results]}, key=int):
        cases = [case for case in results if section_of(case) == section]
        lines.append(row(section, len(cases), counts(cases)))
    lines.append(row("all", len(results), counts(list(results))))
    return "\n".join(line.rstrip() for line in lines)


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("set", choices=SETS, help="the cases that are run")
    parser.add_argument(
        "report", nargs="?", type=pathlib.Path,
        help="wstest's outdir, named like the agent; without it, the set is printed as JSON",
    )  # fmt: skip
    options = parser.parse_args(arguments)
    expected = expected_cases(options.set)
    if options.report is None:
        print(json.dumps(list(expected)))
        return 0

    try:
        index = json.loads((options.report / "index.json").read_text())
    except (OSError, ValueError) as error:
        print(f"FAILED: no readable index.json, so the suite did not get to its end: {error}")
        return 1
    results = index.get(options.report.name, {})
    wrong = judge(results, expected, options.report)

    print(table(results, expected))
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
