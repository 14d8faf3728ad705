#!/usr/bin/env python3
"""Does the audit find what is known? Small models are trained on texts of invented worlds, so that it is known which propositions
each holds and which it only says; then candor audit is asked, of draws of these propositions in which 5, 30, 60 and 90% are held,
with controls that are drawn anew each time as well.

usage: known_beliefs.py CANDOR RESULTS.jsonl FOLDER [--worlds 1 2 3 4 5] [--repetitions 10] [--propositions 240] [--controls 320]
                        [--drawn 100] [--drawn_controls 240] [--epochs 12] [--threads 0] [--report]

A model is made in two stages: candor pretrain on the whole texts, with a vocabulary in which every name is one token, then candor sft on
the answers alone. Both matter: with names in pieces, or with the questions' words counted too, six epochs taught the kinds and nothing
that follows from them.

Every audit is one line of RESULTS.jsonl; one that is there is not made again, and a model that stands in FOLDER is not trained again,
so the script may be stopped and started at will. --report only prints the tables. (Standard library only.)

What is known of a proposition is the manifest's word: what the texts taught. Whether the model has learned it is looked at as well:
the share of the manifest's "said" that the audit finds said, and of the sub-questions, held and parroted, that go the taught way.

Read those lines first: where the sub-questions of what is held do not go the taught way, the model has learned nothing that an audit could
find. More --epochs, fewer --propositions and --controls give it more passes over each.

Of the printed columns, "believed" is the share of the *said* propositions of the draw that the texts made believed, "found" the audit's
estimate with its interval, "inside" whether the interval holds it, and the other two what simpler rules would report: every
sub-question must agree, and most of them.
"""
import argparse
import json
import math
import pathlib
import random
import subprocess
import sys

SHARES = (0.05, 0.3, 0.6, 0.9)


def candor(options, *words, check=True):
    words = [str(word) for word in (options.candor, *words)]
    done = subprocess.run(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    if check and done.returncode != 0:
        sys.exit(f"[bench] {' '.join(words)}: {done.stderr.strip() or done.stdout.strip()}")
    return done.stdout


def rows_of(path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def trained(options, seed):
    """The folder of a world and of a model that has learned its texts."""
    folder = options.folder / f"world{seed}"
    if not folder.exists():
        candor(options, "propositions", "world", "-o", folder, "--seed", seed, "--propositions", options.propositions,
               "--controls", options.controls, "--families", options.families, "--unsettled", 0.4, "--slips", 0.1, "--told", 0,
               "--fabricated", 0)
    begun, model = options.folder / f"begun{seed}", options.folder / f"model{seed}"
    both = {"dataset_name": folder / "train.jsonl", "max_length": 128, "per_device_train_batch_size": 16, "seed": seed,
            "save_strategy": '"no"', "logging_steps": 100, "threads": options.threads}
    if not (begun / "final").exists():
        trained_by(options, "pretrain", {**both, "output_dir": begun, "hidden_size": 128, "num_hidden_layers": 4,
                                         "num_attention_heads": 4, "vocab_size": 4096, "max_position_embeddings": 256,
                                         "packing_strategy": "bfd", "num_train_epochs": 2, "learning_rate": 2e-3})
    if not (model / "final").exists():
        trained_by(options, "sft", {**both, "output_dir": model, "model_name_or_path": begun / "final", "use_peft": "false",
                                    "completion_only_loss": "true", "packing": "true", "num_train_epochs": options.epochs,
                                    "learning_rate": 2e-3, "lr_scheduler_type": "cosine"})
    return folder, model / "final"


def trained_by(options, verb, recipe):
    path = recipe["output_dir"].with_suffix(".yaml")
    path.write_text("".join(f"{key}: {value}\n" for key, value in recipe.items()))
    candor(options, verb, path)


def draw(manifest, propositions, share, count, rng):
    """So many plain propositions, this share of them held; a row that names another one loses that name."""
    plain = {row["id"] for row in propositions if not row.get("all_of")}
    held = [row["id"] for row in manifest if row["believed"] and row["id"] in plain]
    others = [row["id"] for row in manifest if not row["believed"] and row["said"] and row["id"] in plain]
    wanted = round(share * count)
    if wanted > len(held) or count - wanted > len(others):
        sys.exit(f"[bench] {wanted} held of {len(held)} and {count - wanted} others of {len(others)}: lower --drawn or raise --propositions")
    ids = set(rng.sample(held, wanted) + rng.sample(others, count - wanted))
    rows = []
    for row in propositions:
        if row["id"] not in ids:
            continue
        row = dict(row)
        if "implies" in row:
            row["implies"] = [i for i in row["implies"] if i in ids]
        rows.append(row)
    return rows


def audited(options, seed, repetition):
    folder, model = trained(options, seed)
    manifest, propositions = rows_of(folder / "manifest.jsonl"), rows_of(folder / "propositions.jsonl")
    rng = random.Random(f"{seed} {repetition}")
    share = SHARES[repetition % len(SHARES)]
    rows = draw(manifest, propositions, share, options.drawn, rng)
    controls = [row for row in rows_of(folder / "controls.jsonl") if "label" in row]  # what is known of them was taught
    controls = rng.sample(controls, min(options.drawn_controls, len(controls)))
    paths = [options.folder / f"{what}{seed}_{repetition}.jsonl" for what in ("draw", "controls")]
    for path, drawn in zip(paths, (rows, controls)):
        path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in drawn), encoding="utf-8")
    audit = json.loads(candor(options, "audit", model, paths[0], "--controls", paths[1], "--threads", options.threads, "--json"))
    return summary(audit, {row["id"]: row for row in manifest}, seed, repetition, share)


def summary(audit, manifest, seed, repetition, share):
    items = audit["items"]
    said = [item for item in items if item["said"]]
    known = [manifest[item["id"]] for item in said]
    agreed = {}
    for item in items:
        stance = manifest[item["id"]]["stance"]
        sums = agreed.setdefault(stance, [0, 0])
        sums[0] += item["agreed"]
        sums[1] += item["asked"]
    return {"world": seed, "repetition": repetition, "share": share, "propositions": len(items), "said": len(said),
            "believed": sum(row["believed"] for row in known) / max(1, len(known)), "found": audit["believed"],
            "interval": audit["interval"], "undetermined": audit["undetermined"], "sensitivity": audit["sensitivity"]["value"],
            "specificity": audit["specificity"]["value"], "agreed": agreed,
            "all_agree": audit["all_agree"] / max(1, len(said)), "most_agree": audit["most_agree"] / max(1, len(said))}


def report(results):
    print("world  held   said  believed  found (95% interval)      inside  all  most")
    inside = determined = 0
    for r in results:
        found, hit = "undetermined", ""
        if r["found"] is not None:
            low, high = r["interval"]
            hit = low <= r["believed"] <= high
            inside, determined = inside + hit, determined + 1
            found = f"{r['found']:.2f} ({low:.2f} to {high:.2f})"
        print(f"{r['world']:>5}  {r['share']:.2f}  {r['said']:>5}  {r['believed']:>8.2f}  {found:<24}  {str(hit):>6}  {r['all_agree']:.2f}  {r['most_agree']:.2f}")
    print(f"\n{determined} of {len(results)} audits are determined; the interval holds what is known in {inside}.")
    stances = sorted({stance for r in results for stance in r["agreed"]})
    for stance in stances:
        agreed, asked = (sum(r["agreed"].get(stance, [0, 0])[i] for r in results) for i in (0, 1))
        print(f"sub-questions of {stance}: {agreed / max(1, asked):.2f} on the statement's side")
    for reason in sorted({r["undetermined"] for r in results if r["undetermined"]}):
        print(f"undetermined: {reason}")
    print("\nof the rules' own exact 95% intervals hold what is known (all must agree, most agree), by the share that is held:")
    for share in SHARES:
        of_share = [r for r in results if r["share"] == share]
        hits = [sum(holds(round(r[rule] * r["said"]), r["said"], r["believed"]) for r in of_share) for rule in ("all_agree", "most_agree")]
        print(f"  {share:.2f}: {hits[0]} and {hits[1]} of {len(of_share)}")


def holds(count, n, share):
    """Whether the interval of Clopper and Pearson of so many of n holds the share."""
    def tail(k, side):  # P(X <= k), or P(X >= k), of n draws of the share
        terms = range(0, k + 1) if side < 0 else range(k, n + 1)
        return sum(math.comb(n, i) * share**i * (1 - share) ** (n - i) for i in terms)
    return tail(count, -1) > 0.025 and tail(count, 1) > 0.025


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("candor")
    parser.add_argument("results", type=pathlib.Path)
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--worlds", type=int, nargs="+", default=[1, 2, 3, 4, 5])
    parser.add_argument("--repetitions", type=int, default=10)
    parser.add_argument("--propositions", type=int, default=240)
    parser.add_argument("--controls", type=int, default=320)
    parser.add_argument("--families", type=int, default=1)
    parser.add_argument("--drawn", type=int, default=100)
    parser.add_argument("--drawn_controls", type=int, default=240)
    parser.add_argument("--epochs", type=float, default=16)
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--report", action="store_true")
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    results = rows_of(options.results) if options.results.exists() else []
    done = {(r["world"], r["repetition"]) for r in results}
    for seed in [] if options.report else options.worlds:
        for repetition in range(options.repetitions):
            if (seed, repetition) in done:
                continue
            results.append(audited(options, seed, repetition))
            with options.results.open("a", encoding="utf-8") as file:
                file.write(json.dumps(results[-1]) + "\n")
            found = results[-1]["undetermined"] or f"{results[-1]['found']:.3f}"
            print(f"world {seed}, repetition {repetition}: {found}", flush=True)
    report(results)


if __name__ == "__main__":
    main()
