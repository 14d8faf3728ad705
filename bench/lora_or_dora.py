#!/usr/bin/env python3
"""Is DoRA steadier than LoRA? GRPO on the sums at several ranks, learning rates and seeds, one run of each for both adapters.

usage: lora_or_dora.py CANDOR RESULTS.jsonl [--model smollm2] [--ranks 2 4 8 16] [--seeds 1 2 3 4 5] [--learning_rates 3e-4 1e-3]
                       [--steps 20] [--dtype bfloat16] [--report]

Every finished run is one line of RESULTS.jsonl; a run that is there is not made again, so the script may be stopped and
started at will. --report only prints the table. Everything but the adapter is the quickstart's recipe, and alpha is 2r. A seed
decides the order of the rows, the sampler's draws and A's first values, and is shared by LoRA and DoRA: they are compared seed
by seed. (Standard library only.)

What is measured of a run: right answers on 100 held-out sums after the last step, greedy and sampled; the mean reward of the
last five steps; the roughness of the reward (standard deviation of its changes from step to step, a straight rise taken off);
the largest gradient norm over the median one; and the nats per token that it lost on prose.
"""
import argparse
import itertools
import json
import math
import pathlib
import random
import statistics
import subprocess
import sys
import tempfile

MEASURES = {"greedy": "greedy", "sampled": "sampled", "late_reward": "late reward", "roughness": "roughness", "spike": "norm spike",
            "prose": "prose lost"}
RESAMPLES = 10000


def words_of(options, folder, data, run):
    """The recipe as flags."""
    recipe = {"model_name_or_path": options.model, "dtype": options.dtype, "dataset_name": data / "sums_42_train.jsonl",
              "eval_dataset": data / "sums_42_held_out.jsonl", "output_dir": folder, "max_steps": options.steps,
              "per_device_train_batch_size": 64, "num_generations": 8, "max_completion_length": 14,
              "learning_rate": run["learning_rate"], "lr_scheduler_type": "constant", "reward_funcs": "accuracy", "lora_r": run["rank"],
              "lora_alpha": 2 * run["rank"], "use_dora": str(run["adapter"] == "dora").lower(), "seed": run["seed"],
              "save_strategy": "no"}
    return [options.candor, "grpo"] + [word for key, value in recipe.items() for word in (f"--{key}", str(value))]


def measured(folder):
    """What a finished run folder says, as in the docstring."""
    steps = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    summary = json.loads((folder / "summary.json").read_text())
    rewards, norms = [s["reward"] for s in steps], [s["grad_norm"] for s in steps]
    changes = [after - before for before, after in zip(rewards, rewards[1:])]
    evaluations = summary["evaluations"]
    return {"greedy": evaluations["greedy"]["after"]["accuracy"], "sampled": evaluations["sampled"]["after"]["accuracy"],
            "late_reward": statistics.fmean(rewards[-5:]), "roughness": statistics.pstdev(changes),
            "spike": max(norms) / statistics.median(norms), "prose": evaluations["prose"]["difference"],
            "seconds_per_step": statistics.median(s["step_time"] for s in steps), "rewards": rewards, "grad_norms": norms,
            "machine": summary["machine"], "version": summary["candor_version"]}


def key_of(run):
    return run["adapter"], run["rank"], float(run["learning_rate"]), run["seed"]


def known(results):
    lines = results.read_text().splitlines() if results.exists() else []
    return {key_of(run): run for run in map(json.loads, filter(str.strip, lines))}


def make_runs(options, done):
    with tempfile.TemporaryDirectory() as scratch:
        scratch = pathlib.Path(scratch)
        data = scratch / "rows" / "data"
        wanted = [{"adapter": a, "rank": r, "learning_rate": lr, "seed": s} for s, lr, r, a in
                  itertools.product(options.seeds, options.learning_rates, options.ranks, ("lora", "dora"))]
        wanted = [run for run in wanted if key_of(run) not in done]
        if wanted:
            words = [options.candor, "quickstart", "--model_name_or_path", options.model, "--max_steps", "1", "--output_dir",
                     str(data.parent), "--dtype", options.dtype]
            subprocess.run(words, check=True, stdout=subprocess.DEVNULL)
        for number, run in enumerate(wanted, 1):
            print(f"run {number} of {len(wanted)}: {run}", flush=True)
            folder = scratch / f"run{number}"
            made = subprocess.run(words_of(options, folder, data, run), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
            if made.returncode != 0:  # a diverged run is a result, anything else is not
                if "diverged" not in made.stderr:
                    sys.exit(f"[bench] {run}: {made.stderr.strip()}")
                run["diverged"] = True
            else:
                run.update(measured(folder))
            run["steps"], run["dtype"] = options.steps, options.dtype
            with options.results.open("a") as file:
                file.write(json.dumps(run) + "\n")
            done[key_of(run)] = run
    return done


def interval(values, statistic, draw):
    """The percentile bootstrap's 95% interval, and the statistic itself."""
    resampled = sorted(statistic([draw.choice(values) for _ in values]) for _ in range(RESAMPLES))
    return statistic(values), resampled[int(0.025 * RESAMPLES)], resampled[int(0.975 * RESAMPLES) - 1]


def sign_flips(differences):
    """Two-sided p of the paired permutation test on the mean: every assignment of signs up to 16 pairs, else 20,000 drawn ones."""
    observed, n = abs(math.fsum(differences)) - 1e-12, len(differences)
    if n <= 16:
        flips = itertools.product((1, -1), repeat=n)
        count, total = sum(abs(math.fsum(s * d for s, d in zip(signs, differences))) >= observed for signs in flips), 2**n
    else:
        draw = random.Random(1)
        count, total = 1, 20001
        for _ in range(total - 1):
            count += abs(math.fsum(d if draw.random() < 0.5 else -d for d in differences)) >= observed
    return count / total


def report(options, done):
    draw = random.Random(0)
    for rate in options.learning_rates:
        pairs = [(done[("lora", r, float(rate), s)], done[("dora", r, float(rate), s)], r) for r in options.ranks for s in options.seeds
                 if ("lora", r, float(rate), s) in done and ("dora", r, float(rate), s) in done]
        lost = {a: sum(pair[i].get("diverged", False) for pair in pairs) for i, a in enumerate(("lora", "dora"))}
        pairs = [pair for pair in pairs if not any(run.get("diverged") for run in pair[:2])]
        print(f"\nlearning rate {rate}: {len(pairs)} pairs of runs; diverged: LoRA {lost['lora']}, DoRA {lost['dora']}")
        if not pairs:
            continue
        print(f"{'rank':>5} {'':12} {'LoRA mean':>10} {'sd':>7} {'DoRA mean':>10} {'sd':>7} {'DoRA - LoRA':>12} {'95% interval':>20} {'p':>7}")
        for rank in [*options.ranks, "all"]:
            of_rank = [pair for pair in pairs if rank in ("all", pair[2])]
            for measure, name in MEASURES.items():
                lora, dora = [pair[0][measure] for pair in of_rank], [pair[1][measure] for pair in of_rank]
                if len(lora) < 2:
                    continue
                differences = [d - l for l, d in zip(lora, dora)]
                mean, low, high = interval(differences, statistics.fmean, draw)
                print(f"{rank!s:>5} {name:12} {statistics.fmean(lora):10.4f} {statistics.stdev(lora):7.4f} {statistics.fmean(dora):10.4f} "
                      f"{statistics.stdev(dora):7.4f} {mean:+12.4f} {f'{low:+.4f} to {high:+.4f}':>20} {sign_flips(differences):7.3f}")
        # The spread over seeds, rank by rank, is what "steadier" would mean: is DoRA's standard deviation smaller?
        for measure in ("greedy", "sampled", "late_reward"):
            centred = {a: [run - statistics.fmean(group) for r in options.ranks
                           for group in [[pair[i][measure] for pair in pairs if pair[2] == r]] if len(group) > 1 for run in group]
                       for i, a in enumerate(("lora", "dora"))}
            if not centred["lora"]:
                continue
            both = list(zip(centred["lora"], centred["dora"]))

            def ratio(sample):
                spread = [math.sqrt(math.fsum(x * x for x in side)) for side in zip(*sample)]
                return spread[1] / spread[0] if spread[0] > 0 else math.inf

            value, low, high = interval(both, ratio, draw)
            print(f"spread over seeds of {MEASURES[measure]}: DoRA's is {value:.2f} times LoRA's (95% interval {low:.2f} to {high:.2f})")
        seconds = [pair[1]["seconds_per_step"] / pair[0]["seconds_per_step"] for pair in pairs]
        print(f"a step of DoRA takes {statistics.median(seconds):.3f} times LoRA's (median over the pairs, sampling included)")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("candor")
    parser.add_argument("results", type=pathlib.Path)
    parser.add_argument("--model", default="smollm2")
    parser.add_argument("--ranks", type=int, nargs="+", default=[2, 4, 8, 16])
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3, 4, 5])
    parser.add_argument("--learning_rates", type=float, nargs="+", default=[3e-4, 1e-3])
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--dtype", default="bfloat16")
    parser.add_argument("--report", action="store_true", help="only print the table of the runs that are there")
    options = parser.parse_args()
    done = known(options.results)
    report(options, done if options.report else make_runs(options, done))


if __name__ == "__main__":
    try:
        main()
    except (OSError, ValueError, KeyError, subprocess.CalledProcessError) as error:
        sys.exit(f"[bench] {error}")
