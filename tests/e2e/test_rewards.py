"""Rewards outside the program: a script that scores, an HTTP service that scores, and all that can go wrong with them."""
import http.server
import json
import shutil
import ssl
import subprocess
import threading
import unittest

from harness import Case, jsonl, kill, metrics, steps_done, tensors, wait_for

# One point for each digit, none for an empty completion; every request is written down.
SCORE = """#!/usr/bin/env python3
import json, sys
for line in sys.stdin:
    request = json.loads(line)
    with open(__file__ + ".asked", "a") as asked:
        asked.write(line)
    text = request["completion"]
    assert request["row"]["answer"] and request["prompt"] == request["row"]["prompt"]
    %s
    print(json.dumps({"reward": sum(c.isdigit() for c in text) if text else None}), flush=True)
"""
KEYS = {"reward_funcs": "program", "reward_weights": "1.0", "reward_program": "./score.py"}


class Rewards(Case):
    def score_script(self, extra="pass", name="score.py"):
        path = self.root / name
        path.write_text(SCORE % extra)
        path.chmod(0o755)
        return path

    def asked(self):
        path = self.root / "score.py.asked"
        return path.read_text().splitlines() if path.exists() else []

    def recipe(self, **keys):
        """A recipe file: what it names was not typed by the user."""
        given = dict(zip(*[iter(word for word in self.grpo_words("run", **keys)[1:])] * 2))
        lines = [f"{key[2:]}: {json.dumps(value)}" for key, value in given.items()]
        path = self.root / "recipe.yaml"
        path.write_text("\n".join(lines) + "\n")
        return path


class Program(Rewards):
    def test_scores_reach_the_run(self):
        self.score_script()
        run = self.grpo("run", **KEYS)
        rows = jsonl(run / "completions.jsonl")
        self.assertEqual(len(rows), 64)
        for row in rows:
            expected = sum(c.isdigit() for c in row["completion"]) if row["completion"] else None
            self.assertEqual(row["rewards"]["program"], expected)
        self.assertIn("rewards/program/mean", jsonl(run / "metrics.jsonl")[0])
        asked = self.asked()
        self.assertEqual(len(asked), len(set(asked)), "the same request was asked twice")
        self.assertEqual(len(jsonl(run / "reward_cache.jsonl")), len(asked))

    def test_a_recipe_file_asks_before_it_runs_one(self):
        self.score_script()
        recipe = self.recipe(**KEYS)
        self.refused(2, r"\[recipe\.yaml:\d+\] reward_program would run on this machine with your rights: \./score\.py Read the "
                        r"recipe, then add --allow_programs\.", "grpo", "recipe.yaml")
        self.assertFalse((self.root / "run").exists())
        self.assertEqual(self.asked(), [])
        self.ok("grpo", recipe, "--allow_programs")
        # The folder's own recipe.yaml is a file as well.
        self.refused(2, r"\[run/recipe\.yaml:\d+\] reward_program would run .*", "grpo", "run/recipe.yaml",
                     "--resume_from_checkpoint", "true", "--max_steps", 5)

    def test_killed_and_resumed_asks_only_what_it_does_not_know(self):
        self.score_script()
        keys = {**KEYS, "max_steps": 12, "save_steps": 3, "per_device_train_batch_size": 16}
        whole = self.grpo("whole", **keys)
        (self.root / "score.py.asked").rename(self.root / "asked_by_whole")
        words = self.grpo_words("run", **keys, resume_from_checkpoint="auto")
        process = self.start(*words)
        self.assertTrue(wait_for(process, lambda: steps_done(self.root / "run") >= 5))
        self.assertTrue(kill(process))
        known = (self.root / "run" / "reward_cache.jsonl").read_bytes().count(b"\n")
        before = len(self.asked())
        self.ok(*words)
        self.assert_same_result(self.root / "run", whole)
        asked_by_whole = set((self.root / "asked_by_whole").read_text().splitlines())
        self.assertEqual(set(self.asked()), asked_by_whole)
        self.assertGreater(known, 0)
        self.assertEqual(len(self.asked()) - before, len(asked_by_whole) - known, "what the cache held was asked again")

    def test_failures_are_named_and_lose_nothing(self):
        """Steps 1 to 3 go well, then the program does what it should not."""
        whole_keys = {**KEYS, "max_steps": 6, "save_steps": 100}
        self.score_script()
        whole = self.grpo("whole", **whole_keys)
        later = "import os; late = os.path.exists('run/metrics.jsonl') and len(open('run/metrics.jsonl').readlines()) >= 3"
        cases = {
            "dies": (r"sys.stderr.write('out of ink\\n'); sys.exit(7)",
                     r"\[program\] \./score\.py ended with exit status 7 after \d+ of \d+ scores\. It had been started "
                     r"anew before\. Its last words on stderr: out of ink"),
            "crashes": ("os.kill(os.getpid(), 11)", r"\[program\] \./score\.py was killed by signal 11 \(Segmentation fault\) .*"),
            "hangs": ("import time; time.sleep(1000)", r"\[program\] \./score\.py gave \d+ of \d+ scores in 3 s \(reward_timeout\)\..*"),
            "junk": ("print('hello', flush=True)", r"\[program\] \./score\.py answered badly to completion \d+ of \d+: hello is no .*"),
            "nan": ("print('{\"reward\": NaN}', flush=True)", r"\[program\] .*holds no finite number\.?.*"),
        }
        for name, (act, message) in cases.items():
            with self.subTest(name):
                self.score_script(f"{later}\n    if late: {act}")
                words = self.grpo_words("run", **whole_keys, reward_timeout=3 if name == "hangs" else 60)
                self.refused(1, message + r".* The 3 steps before are saved: --resume_from_checkpoint true goes on there\.", *words)
                self.score_script()
                self.ok(*self.grpo_words("run", **whole_keys, resume_from_checkpoint="true"))
                self.assertEqual(tensors(self.root / "run" / "final"), tensors(whole / "final"))
                self.assertEqual(metrics(self.root / "run"), metrics(whole))
                shutil.rmtree(self.root / "run")

    def test_rows_that_nobody_scores(self):
        self.score_script("text = ''; print('{\"reward\": null}', flush=True); continue")
        run = self.grpo("run", **KEYS)
        for row in jsonl(run / "metrics.jsonl"):
            self.assertEqual((row["unscored_rows"], row["loss"], row["reward"]), (16, 0, None))

    def test_a_program_that_is_not_there(self):
        self.refused(1, r"\[program\] cannot start \./absent: No such file or directory\..*",
                     *self.grpo_words("run", **{**KEYS, "reward_program": "./absent"}))

    def test_keys_belong_together(self):
        self.refused(2, r"\[grpo\] reward_funcs has program, which needs reward_program: .*",
                     *self.grpo_words("run", reward_funcs="program", reward_weights="1"))
        self.refused(2, r"\[grpo\] reward_program is given, but reward_funcs does not have program\. .*",
                     *self.grpo_words("run", reward_program="./score.py"))


class Service(http.server.BaseHTTPRequestHandler):
    """POST /score gives the digits of each completion; the class says what else should happen."""
    fail_first, seen, keys, answer = 0, 0, [], None

    def do_POST(self):
        kind = type(self)
        kind.seen += 1
        kind.keys.append(self.headers.get("Authorization"))
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.path == "/moved":
            self.send_response(302)
            self.send_header("Location", "http://elsewhere.example/score")
            self.end_headers()
            return
        if kind.seen <= kind.fail_first:
            self.send_response(503)
            self.end_headers()
            return
        rewards = [sum(c.isdigit() for c in one["completion"]) for one in body["completions"]]
        text = (kind.answer or (lambda rewards: json.dumps({"rewards": rewards})))(rewards).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *_):
        pass


class Endpoint(Rewards):
    def serve(self, context=None, **state):
        handler = type("Handler", (Service,), {"keys": [], **{k: staticmethod(v) if callable(v) else v for k, v in state.items()}})
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        if context:
            server.socket = context.wrap_socket(server.socket, server_side=True)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        self.addCleanup(server.server_close)
        self.addCleanup(server.shutdown)
        return handler, f"127.0.0.1:{server.server_address[1]}"

    def words(self, url, output="run", **keys):
        return self.grpo_words(output, **{"reward_funcs": "endpoint", "reward_weights": "1", "reward_endpoint": url, "max_steps": 2,
                                          **keys})

    def test_scores_retries_and_cache(self):
        handler, host = self.serve(fail_first=2)
        self.ok(*self.words(f"http://{host}/score"))
        for row in jsonl(self.root / "run" / "completions.jsonl"):
            self.assertEqual(row["rewards"]["endpoint"], sum(c.isdigit() for c in row["completion"]))
        self.assertEqual(handler.seen, 6)  # two failures, the screening's keys and answers, then one for each step
        shutil.rmtree(self.root / "run" / "checkpoint-2")
        self.ok(*self.words(f"http://{host}/score"), "--resume_from_checkpoint", "auto")
        self.assertEqual(handler.seen, 6, "what the cache holds was asked again")

    def test_bad_answers_are_named(self):
        for answer, message in {
            (lambda rewards: json.dumps({"rewards": rewards[1:]})): r"gave \d+ scores for \d+ completions\.",
            (lambda rewards: "hello"): r"answered with no \{\"rewards\": \[numbers or null\]\}: hello",
            (lambda rewards: json.dumps({"rewards": [float("nan")] * len(rewards)})): r"answered with no .*",
            (lambda rewards: json.dumps({"rewards": ["1"] * len(rewards)})): r"completion 1 of \d+: expected a number, .*",
        }.items():
            _, host = self.serve(answer=answer)
            self.refused(1, rf"\[endpoint\] http://{host}/score[, ]+{message}", *self.words(f"http://{host}/score"))
            shutil.rmtree(self.root / "run")

    def test_gives_up(self):
        handler, host = self.serve(fail_first=99)
        self.refused(1, rf"\[endpoint\] http://{host}/score answered with status 503: \.", *self.words(f"http://{host}/score"))
        self.assertEqual(handler.seen, 8)  # four times for the screening, four for the first step
        shutil.rmtree(self.root / "run")
        handler, host = self.serve()
        self.refused(1, rf"\[endpoint\] http://{host}/moved answered with status 302, a redirect to http://elsewhere\.example/score, "
                        r"which is not followed\. Give the address itself\.", *self.words(f"http://{host}/moved"))
        self.assertEqual(handler.seen, 2)

    def test_the_key(self):
        handler, host = self.serve()
        key = {"reward_endpoint_key_env": "SCORE_KEY"}
        self.ok(*self.words(f"http://{host}/score", **key), SCORE_KEY="s3cret")
        self.assertEqual(set(handler.keys), {"Bearer s3cret"})
        for path in (self.root / "run").rglob("*"):
            self.assertFalse(path.is_file() and b"s3cret" in path.read_bytes(), path)
        self.refused(1, r"\[endpoint\] reward_endpoint http://score\.example/ is plain http, over which a key .* Use https\.",
                     *self.words("http://score.example/", "other", **key), SCORE_KEY="s3cret")
        self.refused(1, r"\[endpoint\] reward_endpoint_key_env names the variable SCORE_KEY, which is not set\.",
                     *self.words("https://score.example/", "other", **key))
        self.refused(1, r"\[endpoint\] reward_endpoint is ftp://x, expected an address that begins with .*",
                     *self.words("ftp://x", "other"))
        self.refused(1, r"\[endpoint\] reward_endpoint holds a name or password before @\. .*",
                     *self.words("https://me:pw@score.example/", "other"))
        self.assertFalse((self.root / "other").exists())

    def test_a_recipe_file_asks_before_it_sends(self):
        _, host = self.serve()
        words = self.words(f"http://{host}/score", reward_endpoint_key_env="HOME")
        keys = {key[2:]: value for key, value in zip(words[1::2], words[2::2]) if key != "--output_dir"}
        self.recipe(**keys)
        self.refused(2, rf"\[recipe\.yaml:\d+\] the prompts and completions and the key in \$HOME would be sent to http://{host}/score\. "
                        r"Read the recipe, then add --allow_programs\.", "grpo", "recipe.yaml")

    @unittest.skipUnless(shutil.which("openssl"), "needs openssl to make a certificate")
    def test_tls_is_verified(self):
        certificate, key = self.root / "cert.pem", self.root / "key.pem"
        subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", key, "-out", certificate, "-days", "2",
                        "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"],
                       check=True, capture_output=True)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        handler, host = self.serve(context=context)
        url = f"https://localhost:{host.split(':')[1]}/score"
        self.refused(1, rf"\[endpoint\] {url} has a certificate that this machine's authorities do not vouch for\.", *self.words(url))
        self.assertEqual(handler.seen, 0)
        shutil.rmtree(self.root / "run")
        self.ok(*self.words(url), SSL_CERT_FILE=str(certificate))
        self.assertGreater(handler.seen, 0)


if __name__ == "__main__":
    unittest.main()
