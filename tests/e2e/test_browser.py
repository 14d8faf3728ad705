"""Every kind of page in a browser (Debian's headless Chromium): it draws, it complains of nothing, and no text of a completion,
a model, a dataset or a recipe becomes markup."""
import html.parser
import json
import math
import shutil
import subprocess
import unittest

import test_audit
from harness import Case, flags, write_rows

CHROMIUM = shutil.which("chromium")
HOSTILE = ["<script>document.title='taken'</script>", "</script><script>document.title='taken'</script>", "<img src=x onerror=\"document.title='taken'\">",
           "<!--<script>", "]]><svg onload=document.title='taken'>", "javascript:document.title='taken'", "\u202ereversed\u0000\u001b[31m", "{{data}}",
           "\"'><iframe src=//example.org>", "&lt;b&gt;&amp;"]


class Page(html.parser.HTMLParser):
    """The elements of a page after its scripts have run, and its text."""

    def __init__(self, text):
        super().__init__()
        self.elements, self.words, self.inside = [], {}, []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))
        if tag not in ("meta", "input", "br", "img", "link"):
            self.inside.append((tag, dict(attributes).get("id")))

    def handle_endtag(self, tag):
        while self.inside and self.inside.pop()[0] != tag:
            pass

    def handle_data(self, data):
        if any(tag in ("script", "style") for tag, _ in self.inside):
            return
        for tag, name in self.inside:
            if tag == "title":
                self.words["title"] = self.words.get("title", "") + data
            if name:
                self.words[name] = self.words.get(name, "") + data

    def count(self, tag):
        return sum(1 for name, _ in self.elements if name == tag)

    def shown(self, name):
        return any(attributes.get("id") == name and "hidden" not in attributes for _, attributes in self.elements)


@unittest.skipUnless(CHROMIUM, "Chromium is not installed")
class Browser(Case):
    def open(self, run, file="report.html", scripts=5):
        """A page in this folder, the report of a run by default; the browser must not complain."""
        done = subprocess.run([CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--enable-logging=stderr",
                               f"--user-data-dir={self.root / 'browser'}", "--virtual-time-budget=5000", "--dump-dom",
                               (run / file).as_uri()], capture_output=True, encoding="utf-8", errors="replace", timeout=120)
        self.assertEqual(done.returncode, 0, done.stderr)
        complaints = [line for line in done.stderr.splitlines() if ":CONSOLE" in line]
        self.assertEqual(complaints, [])
        page = Page(done.stdout)
        self.assertTrue(page.words["title"].endswith(" · candor"), page.words["title"])
        self.assertEqual(page.count("script"), scripts, "of a report: the data, the charts, what pages share and the page's own two")
        for tag in ("img", "iframe", "object", "embed", "form", "base", "link"):
            self.assertEqual(page.count(tag), 0, tag)
        for tag, attributes in page.elements:
            for name, value in attributes.items():
                self.assertFalse(name.startswith("on"), f"<{tag} {name}>")
                if name in ("href", "src"):
                    self.assertTrue(value.startswith("#"), f"<{tag} {name}={value}>")
        return page

    def test_a_finished_grpo_run(self):
        page = self.open(self.grpo("run", eval_dataset=self.held_out))
        for section in ("evaluation", "facts", "samples", "curves", "completions", "machine", "recipe"):
            self.assertTrue(page.shown(section), section)
        self.assertGreaterEqual(page.count("canvas"), 4)
        self.assertIn("bit for bit", page.words["gap"])
        self.assertIn("num_generations: 4", page.words["recipe-body"])

    def test_a_finished_sft_run(self):
        pairs = [{"prompt": f"{i} + 1?", "completion": str(i + 1)} for i in range(20)]
        rows, held_out = write_rows(self.root / "rows.jsonl", pairs[:14]), write_rows(self.root / "held_out.jsonl", pairs[14:])
        self.ok("sft", *flags({"model_name_or_path": self.model, "dataset_name": rows, "eval_dataset": held_out, "output_dir": "run", "max_steps": 4,
                               "per_device_train_batch_size": 4, "learning_rate": 0.01, "lora_r": 4, "eval_steps": 2, "threads": 1}))
        page = self.open(self.root / "run")
        for section in ("facts", "curves", "machine", "recipe"):
            self.assertTrue(page.shown(section), section)
        self.assertGreaterEqual(page.count("canvas"), 3)
        self.assertIn("loss", page.words["verdict"] + page.words["lede"])

    def test_a_finished_pretraining(self):
        rows = write_rows(self.root / "rows.jsonl", [{"text": f"the {i} sheep and the {i + 1} goats went home."} for i in range(40)])
        self.ok("pretrain", *flags({"dataset_name": rows, "output_dir": "run", "max_steps": 3, "vocab_size": 300, "hidden_size": 32, "num_hidden_layers": 2,
                                    "max_length": 32, "threads": 1}))
        page = self.open(self.root / "run")
        for section in ("facts", "curves", "machine", "recipe"):
            self.assertTrue(page.shown(section), section)

    def audited(self, folder, spoil, *more):
        """audit.json and the page of an audit of the repository's small model; `spoil` changes each row first."""
        people = [f"{person}{i}" for i in range(3) for person in test_audit.PEOPLE]
        rows = [test_audit.proposition(i, person, test_audit.CITIES[i % 6], i % 2 == 0) for i, person in enumerate(test_audit.PEOPLE[:6])]
        controls = [test_audit.proposition(i + 100, person, test_audit.CITIES[i % 6], i % 2 == 0) for i, person in enumerate(people)]
        for row in controls:
            row["recall"] = {"question": "Where does Mira live?", "answers": ["Tarn"]}  # that the model recalls
        for i, row in enumerate(rows + controls):
            spoil(row, i)
        files = [test_audit.write(self.root / f"{name} <b>&'\".jsonl", made) for name, made in (("rows", rows), ("controls", controls))]
        self.ok("audit", test_audit.TINY, files[0], "--controls", files[1], "-o", self.root / folder, "--threads", "1", *more)
        return json.loads((self.root / folder / "audit.json").read_text(encoding="utf-8")), self.open(self.root / folder, "audit.html", 3)

    def test_an_audit(self):
        found, page = self.audited("first", lambda row, i: None, "--scores", "all", "--sample", "2")
        self.assertEqual(page.words["verdict"], found["sentence"])
        self.assertEqual(page.words["chip"], "Undetermined" if found["believed"] is None else f"Good-Liar rate {100 * found['good_liar_rate']:.1f}%")
        for section in ("topics", "controls", "scores", "notes"):
            self.assertTrue(page.shown(section), section)
        self.assertEqual(page.shown("dishonest"), bool(found["most_dishonest"]))
        self.assertFalse(page.shown("comparison"))
        for row in found["topics"]:
            self.assertIn(f"{row['topic']}{row['propositions']}{row['said']}{row['called_believed']}", page.words["topics-body"])
        for row in found["controls"]:
            believed = "believed" if row["believes"] else "not believed"
            self.assertIn(f"{row['kind'].replace('_', ' ')} ({believed}){row['asked']}{row['right']['of']}", page.words["controls-body"])
        for text in ("Coherence gaps", "Under pressure", "are you sure, 0", "Told to say the opposite", "two directions", "contrast consistent",
                     found["probe_reading"]):
            self.assertIn(text, page.words["scores-cards"])
        for note in found["notes"]:
            self.assertIn(note, page.words["notes-body"])
        items = {item["id"]: item for item in found["items"]}
        for name in found["most_dishonest"]:
            self.assertIn(items[name]["statement"], page.words["dishonest-body"])
            for betrayal in items[name]["betrayals"]:
                self.assertIn(betrayal["question"], page.words["dishonest-body"])
        compared, page = self.audited("second", lambda row, i: None, "--before", self.root / "first" / "audit.json")
        self.assertTrue(page.shown("comparison"))
        self.assertIn(compared["comparison"]["sentence"], page.words["comparison-sentence"])
        self.assertIn("McNemar", page.words["comparison-body"])

    def test_no_text_of_an_audit_becomes_markup(self):
        hostile = [text for text in HOSTILE if "\u0000" not in text] + ["\u202ereversed\u001b[31m"]

        def spoil(row, i):
            text = hostile[i % len(hostile)]
            short = text if len(text) < 30 else "<b>bold</b>"  # for the model's context
            row["id"] += text
            row["topic"] = text
            for name in ("statement", "negation"):
                row[name] = f"{row[name]} {short}"
            for question in row["questions"]:
                question["question"] = f"{text} {question['question']}"
                if "options" in question:
                    question["options"] = [f"{option} {short}" for option in question["options"]]

        found, page = self.audited("run", spoil)
        self.assertEqual(page.count("b"), 0)
        for item in found["items"]:
            if item["topic"].isprintable():
                self.assertIn(item["topic"], page.words["topics-body"])
        for name in found["most_dishonest"]:
            if name.isprintable():
                self.assertIn(name, page.words["dishonest-body"])
        for section in ("topics-body", "dishonest-body", "notes-body"):
            self.assertNotIn("\u202e", page.words.get(section, ""), section)

    def test_a_run_that_was_killed(self):
        run = self.root / "run"
        write_rows(run / "metrics.jsonl", [{"step": 1, "loss": 0.5}, {"step": 2, "loss": 0.25}])
        with open(run / "metrics.jsonl", "a") as file:
            file.write('{"step": 3, "lo')
        self.ok("report", run)
        page = self.open(run)
        self.assertIn("has not finished", page.words["verdict"])
        self.assertTrue(page.shown("curves"))

    def test_a_run_that_a_guard_looked_at(self):
        run = self.root / "run"
        d = [0.2 * step for step in range(40)]
        write_rows(run / "metrics.jsonl", [{"step": i + 1, "loss": 0.1, "reward": 0.3 + 0.1 * x, "completions/mean_length": 80 + i, "rewards/a/mean": 0.1 * x,
                                            "rewards/b/mean": 0.3, "guard/length_correlation": 0.1, "guard/kl_exact": x * x, "guard/alarms": 0,
                                            "gold": 0.3 + (x * (0.4 - 0.25 * math.log(x)) if x else 0), "gold/standard_error": 0.02} for i, x in enumerate(d)])
        write_rows(run / "completions.jsonl", [{"step": 40, "prompt": "2 + 2?", "completion": "4", "reward": i % 2, "gold": i % 2} for i in range(8)]
                   + [{"step": 40, "prompt": "2 + 2?", "completion": "surely four", "reward": 1, "gold": 0}])
        self.ok("report", run)
        page = self.open(run)
        self.assertTrue(page.shown("guard"))
        self.assertIn("The guard asked to stop", page.words["guard-chip"])
        self.assertIn("beyond_optimum", page.words["guard-alarms"])
        for title in ("Frontier", "fitted law", "Parts of the reward", "Completion length"):
            self.assertIn(title, page.words["guard-plots"])
        self.assertIn("surely four", page.words["guard-suspects"])
        self.assertGreaterEqual(page.count("circle"), 80)

    def test_no_text_becomes_markup(self):
        run = self.root / "run <b>&'\""
        write_rows(run / "metrics.jsonl", [{"step": step, "loss": 0.5, **{text: 0.5 for text in HOSTILE}} for step in (1, 2)])
        write_rows(run / "completions.jsonl",
                   [{"step": 1, "prompt": text, "completion": text, "answer": text, "reward": 1.0, "advantage": 0.5, "rewards": {text: 1.0}, text: text}
                    for text in HOSTILE])
        texts = dict(zip(("verdict", "talk_to_it", "command", "started", "candor_version"), HOSTILE))
        side = {"correct": 1, "total": 2, "accuracy": 0.5, "interval": [0.1, 0.9]}
        (run / "summary.json").write_text(json.dumps(
            {**texts, "machine": {text: text for text in HOSTILE}, "steps": 2, "evaluations": {HOSTILE[0]: {"before": side, "after": side}},
             "samples": [{"prompt": text, "answer": text, "before": text, "after": text, "before_correct": False, "after_correct": True} for text in HOSTILE]}))
        (run / "recipe.yaml").write_text("".join(f"key{i}: {json.dumps(text)}\n" for i, text in enumerate(HOSTILE)))
        self.ok("report", run)
        page = self.open(run)
        self.assertEqual(page.count("b"), 0)
        self.assertIn(HOSTILE[0], page.words["verdict"])
        for section, texts in (("samples-body", HOSTILE), ("completions-body", HOSTILE[:8]), ("recipe-body", map(json.dumps, HOSTILE))):
            for text in texts:
                if text.isprintable():
                    self.assertIn(text, page.words[section], section)
        for section in ("samples-body", "completions-body", "recipe-body"):
            self.assertNotIn("\u202e", page.words[section], section)
