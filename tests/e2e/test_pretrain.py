"""candor pretrain: a new model learns more of its text than how often each token stands there."""
import collections
import json
import math

from harness import Case, flags, jsonl, write_rows

SHAPE = {"vocab_size": 300, "hidden_size": 32, "num_hidden_layers": 2, "max_length": 48, "per_device_train_batch_size": 8, "learning_rate": 0.01,
         "threads": 1, "seed": 3}


class Pretrain(Case):
    def setUp(self):
        super().setUp()
        self.rows = write_rows(self.root / "rows.jsonl", [{"text": f"the {n} sheep and the {n + 1} goats went to the hill, and came home at night."}
                                                          for n in range(40)])

    def words(self, output_dir, **keys):
        return ["pretrain", *flags({"dataset_name": self.rows, "output_dir": output_dir, **SHAPE, **keys})]

    def test_the_loss_falls_below_the_unigram_entropy(self):
        self.ok(*self.words("run", max_steps=40))
        final = self.root / "run" / "final"
        counts = collections.Counter()
        for row in self.ok("tokenize", final, self.rows).rows():
            counts.update(row["input_ids"])
        total = sum(counts.values())
        entropy = -sum(n / total * math.log(n / total) for n in counts.values())
        losses = [row["loss"] for row in jsonl(self.root / "run" / "metrics.jsonl")]
        # A model that has learned nothing is as unsure as the vocabulary is large.
        self.assertAlmostEqual(losses[0], math.log(len(json.loads((final / "tokenizer.json").read_text())["model"]["vocab"])), delta=0.3)
        self.assertGreater(losses[0], entropy)
        self.assertLess(losses[-1], entropy / 2)

    def test_twice_the_same_bytes(self):
        for name in ("one", "two"):
            self.ok(*self.words(name, max_steps=3))
        for file in ("model.safetensors", "tokenizer.json", "config.json"):
            self.assertEqual((self.root / "one/final" / file).read_bytes(), (self.root / "two/final" / file).read_bytes(), file)

    def test_rows_without_text_are_refused(self):
        empty = write_rows(self.root / "empty.jsonl", [{"number": 3}])
        done = self.candor(*self.words("run", dataset_name=empty))
        self.assertNotEqual(done.code, 0)
        self.assertIn("empty.jsonl", done.err)
        self.assertFalse((self.root / "run" / "final").exists())
