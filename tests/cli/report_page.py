#!/usr/bin/env python3
"""report_page.py CANDOR: the content security policy of a written page admits exactly the scripts and the style in it."""
import base64
import hashlib
import pathlib
import re
import subprocess
import sys
import tempfile

with tempfile.TemporaryDirectory(prefix="candor_page_") as folder:
    run = pathlib.Path(folder)
    (run / "metrics.jsonl").write_text('{"step": 1, "reward": 0.5}\n{"step": 2, "reward": 0.75}\n')
    subprocess.run([sys.argv[1], "report", folder], check=True, stdout=subprocess.DEVNULL)
    page = (run / "report.html").read_text(encoding="utf-8")

policy = re.search(r'http-equiv="Content-Security-Policy" content="([^"]*)"', page).group(1)
scripts = re.findall(r"<script>(.*?)</script>", page, flags=re.DOTALL)
styles = re.findall(r"<style>(.*?)</style>", page, flags=re.DOTALL)
assert len(scripts) == 4 and len(styles) == 1, (len(scripts), len(styles))


def source(text):
    return "'sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() + "'"


expected = (f"default-src 'none'; script-src {' '.join(map(source, scripts))}; style-src {source(styles[0])}; "
            "base-uri 'none'; form-action 'none'")
assert policy == expected, f"policy is\n{policy}\nexpected\n{expected}"
attributes = re.findall(r"<[a-z][^<>]*\s(?:on\w+|src|style)=", page.split("<script>")[0])
assert not attributes, f"inline handlers, styles or sources: {attributes}"
print("the policy admits the page's own scripts and style, and nothing else")
