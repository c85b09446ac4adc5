"""Figures in files: what the programs with --save write, benches/report reads. benches/README.md describes the format."""

import datetime
import json
import pathlib
import platform
import re
import subprocess
import tomllib

ROOT = pathlib.Path(__file__).resolve().parent.parent
RESULTS = ROOT / "benches/results"

LIBRARIES = [
    "axum", "bowline", "embedded-websocket", "fastwebsockets", "h2", "hyper", "rustls", "sockudo-ws", "soketto", "tokio",
    "tokio-websockets", "tungstenite", "web-socket", "ws-tool", "wtx", "yawc", "zlib-rs",
]  # fmt: skip


def machine():
    """The machine without its name, as `machine` of peers/examples/sockets/save.rs."""
    info = pathlib.Path("/proc/cpuinfo").read_text()

    def line(name):
        found = re.search(rf"^{name}\s*:\s*(.*?)\s*$", info, re.M)
        return found[1] if found else "unknown"

    rustc = subprocess.run(["rustc", "--version"], capture_output=True, text=True, check=True).stdout.split()
    return {
        "processor": f"{line('model name')}, family {line('cpu family')}, model {line('model')}",
        "virtual": "hypervisor" in line("flags").split(),
        "cores": len(re.findall(r"^processor\b", info, re.M)),
        # What distributions add behind the version may be a name.
        "kernel": f"{platform.system()} {re.match(r'[0-9.]*', platform.release())[0]}",
        "rustc": rustc[1],
    }


def libraries():
    packages = tomllib.loads((ROOT / "Cargo.lock").read_text())["package"]
    versions = {package["name"]: package["version"] for package in packages}
    return {name: versions[name] for name in LIBRARIES if name in versions}


def save(file, command, figures, method=None, counted_with=None):
    """Figures are objects with table, row, column, value and perhaps spread."""
    head = {
        "command": command,
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "machine": machine(),
        "libraries": libraries(),
    }
    if method:
        head["method"] = method
    if counted_with:
        head["counted_with"] = counted_with
    write(file, head, figures)


def write(file, head, figures):
    """One figure a line, so that a diff shows what changed."""

    def one(value):
        return json.dumps(value, ensure_ascii=False)

    lines = "".join(f" {one(name)}: {one(value)},\n" for name, value in head.items())
    figures = ",\n  ".join(map(one, figures))
    file.write_text(f'{{\n{lines} "figures": [\n  {figures}\n ]\n}}\n')


class Results:
    """What a file holds, as {table: {row: {column: value}}} in the order of the file."""

    def __init__(self, text):
        saved = json.loads(text)
        self.command, self.date, self.machine = saved["command"], saved["date"], saved["machine"]
        self.libraries, self.method = saved.get("libraries", {}), saved.get("method")
        self.counted_with = saved.get("counted_with", {})
        self.tables, self.spreads = {}, {}
        for figure in saved["figures"]:
            table, row, column = figure["table"], figure["row"], figure["column"]
            cells = self.tables.setdefault(table, {}).setdefault(row, {})
            if column in cells:
                raise ValueError(f"{table}, {row}, {column} is there twice")
            cells[column] = float(figure["value"])
            if "spread" in figure:
                self.spreads.setdefault(table, []).append(float(figure["spread"]))


def load(file):
    try:
        results = Results(file.read_text())
        if missing := {"processor", "cores", "kernel", "rustc"} - set(results.machine):
            raise ValueError(f"machine has no {', '.join(sorted(missing))}")
        return results
    except (ValueError, KeyError, TypeError) as error:
        raise SystemExit(f"{file} is not what --save writes: {error!r}") from error


def load_all(folder):
    """{name of the file: Results}"""
    return {file.stem: load(file) for file in sorted(folder.glob("*.json"))}
