"""What the end-to-end tests share: the program, a scratch folder with a tiny model and data, a recipe, and comparisons."""
import itertools
import json
import os
import pathlib
import shutil
import signal
import subprocess
import tempfile
import time
import unittest

import tiny_model

CANDOR = pathlib.Path(os.environ.get("CANDOR_BINARY", "candor"))
LIMIT_S = 120  # no command of these tests takes a tenth of it; a hang is a failure, not a wait

RECIPE = {
    "max_steps": 4, "per_device_train_batch_size": 8, "gradient_accumulation_steps": 2, "num_generations": 4,
    "max_completion_length": 8, "learning_rate": 0.01, "lora_r": 4, "lora_alpha": 8, "reward_funcs": "accuracy,format",
    "reward_weights": "1.0,0.5", "format_regex": "[a-z0-9]+", "seed": 7, "threads": 1, "logging_steps": 1, "save_steps": 3,
}


class Done:
    """A command that has ended."""

    def __init__(self, code, out, err):
        self.code, self.out, self.err = code, out, err

    def rows(self):
        return [json.loads(line) for line in self.out.splitlines()]


def environment(**more):
    env = {key: value for key, value in os.environ.items() if not key.startswith("CANDOR_") and key != "HF_HOME"}
    env.update({"LC_ALL": "C.UTF-8", "TERM": "dumb"}, **more)
    return env


def flags(keys):
    return list(itertools.chain.from_iterable((f"--{key}", str(value)) for key, value in keys.items()))


class Case(unittest.TestCase):
    """A test with a fresh folder (self.root) beside a model and data that the class shares (self.shared)."""

    @classmethod
    def setUpClass(cls):
        # In memory where there is such a folder: a checkpoint is synced to the disk file by file, which here takes longer
        # than everything else together.
        memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
        cls.scratch = tempfile.TemporaryDirectory(prefix="candor_e2e_", dir=memory)
        cls.addClassCleanup(cls.scratch.cleanup)
        cls.shared = pathlib.Path(cls.scratch.name) / "shared"
        cls.model = tiny_model.write_model(cls.shared / "model")
        cls.data = write_sums(cls.shared / "sums.jsonl", range(16))
        cls.held_out = write_sums(cls.shared / "held_out.jsonl", range(16, 22))

    def setUp(self):
        self.root = pathlib.Path(tempfile.mkdtemp(dir=self.scratch.name))
        self.addCleanup(shutil.rmtree, self.root, True)

    def candor(self, *words, stdin=None, limits=None, **env):
        done = subprocess.run([CANDOR, *map(str, words)], cwd=self.root, env=environment(CANDOR_DATA=self.root / "data", **env), input=stdin, encoding="utf-8",
                              stdin=None if stdin is not None else subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, timeout=LIMIT_S, preexec_fn=limits)
        return Done(done.returncode, done.stdout, done.stderr)

    def ok(self, *words, **more):
        done = self.candor(*words, **more)
        self.assertEqual(done.code, 0, f"candor {' '.join(map(str, words))}\n{done.out}{done.err}")
        return done

    def refused(self, code, message, *words, **more):
        """The command ends with this code, and its one message matches the expression, from its first byte to its last."""
        done = self.candor(*words, **more)
        self.assertEqual(done.code, code, f"candor {' '.join(map(str, words))}\n{done.out}{done.err}")
        lines = [line for line in done.err.splitlines() if line.startswith("candor: ")]
        self.assertEqual(len(lines), 1, done.err)
        self.assertRegex(lines[0], f"^candor: {message}$")
        return done

    def grpo_words(self, output_dir, **keys):
        given = {"model_name_or_path": self.model, "dataset_name": self.data, **RECIPE, "output_dir": output_dir, **keys}
        return ["grpo", *flags(given)]

    def grpo(self, output_dir, env=None, **keys):
        """A run that must end well; its folder."""
        self.ok(*self.grpo_words(output_dir, **keys), **(env or {}))
        return self.root / output_dir

    def start(self, *words, terminal=None):
        """The command in the background, what it says in background.log or on a terminal."""
        log = open(self.root / "background.log", "ab")
        self.addCleanup(log.close)
        process = subprocess.Popen([CANDOR, *map(str, words)], cwd=self.root, env=environment(CANDOR_DATA=self.root / "data"), stdin=subprocess.DEVNULL,
                                   stdout=log, stderr=terminal or log)
        self.addCleanup(end, process)
        return process

    def assert_same_result(self, run, other):
        """Adapter, every checkpoint that both kept, completions and metrics (but for seconds): the same."""
        self.assertEqual(tensors(run / "final"), tensors(other / "final"))
        names = sorted(path.name for path in other.glob("checkpoint-*"))
        self.assertTrue(names)
        self.assertEqual(sorted(path.name for path in run.glob("checkpoint-*")), names)
        for name in names:
            for file in ("adapter_model.safetensors", "adapter_config.json", "optimizer.safetensors"):
                self.assertEqual((run / name / file).read_bytes(), (other / name / file).read_bytes(), f"{name}/{file}")
            self.assertEqual(state(run / name), state(other / name))
        self.assertEqual((run / "completions.jsonl").read_bytes(), (other / "completions.jsonl").read_bytes())
        self.assertEqual(metrics(run), metrics(other))


def end(process):
    if process.poll() is None:
        process.kill()
    process.wait()


def tensors(folder):
    return (folder / "adapter_model.safetensors").read_bytes()


def state(checkpoint):
    """trainer_state.json without seconds."""
    values = json.loads((checkpoint / "trainer_state.json").read_text())
    del values["seconds"]
    return values


def jsonl(path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def metrics(run):
    """The rows of metrics.jsonl as text, without the time that a step took."""
    rows = jsonl(run / "metrics.jsonl")
    for row in rows:
        del row["step_time"]
    return [json.dumps(row, sort_keys=True) for row in rows]


def steps_done(run):
    """Whole rows of metrics.jsonl."""
    try:
        return (run / "metrics.jsonl").read_bytes().count(b"\n")
    except FileNotFoundError:
        return 0


def wait_for(process, condition):
    """Whether the condition came true before the process ended."""
    give_up = time.monotonic() + LIMIT_S
    while process.poll() is None and time.monotonic() < give_up:
        if condition():
            return True
        time.sleep(0.0005)
    return False


def kill(process):
    """kill -9; whether it came before the end."""
    process.send_signal(signal.SIGKILL)
    return process.wait() == -signal.SIGKILL


def write_rows(path, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def write_sums(path, numbers):
    return write_rows(path, [{"prompt": [{"role": "user", "content": f"{n % 5} + {n % 4}?"}], "answer": str(n % 5 + n % 4)}
                             for n in numbers])
