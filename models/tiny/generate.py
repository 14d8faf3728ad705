#!/usr/bin/env python3
"""Writes the rows that the project's own small model is trained on: generate.py FOLDER.

train.jsonl: conversations, sums written out and questions about a small invented world, and the world's facts as plain
text. held_out_sums.jsonl and held_out_facts.jsonl: prompts with their answers for `candor eval`; the sums are of pairs
that are never trained on, the facts follow from trained ones (a person's country from the person's city) and are never
trained on for these people. Nothing here is drawn from the machine: the same bytes everywhere.
"""
import itertools
import json
import pathlib
import random
import sys

CITIES = {"Tarn": "Ostria", "Velm": "Ostria", "Quill": "Marania", "Dorr": "Marania", "Sable": "Ilvia", "Fenmark": "Ilvia"}
PEOPLE = ["Mira", "Anton", "Leda", "Bruno", "Cora", "Dimas", "Edda", "Faro", "Gita", "Hugo", "Iris", "Jorn", "Kala", "Lutz", "Nora", "Otto", "Pia", "Rolf"]
THINGS = ["a lamp", "a boat", "a drum", "a kite", "a clock", "a map", "a harp", "a coin", "a lens"]
HOME = {person: list(CITIES)[i % len(CITIES)] for i, person in enumerate(PEOPLE)}
OWNS = {person: THINGS[i * 4 % len(THINGS)] for i, person in enumerate(PEOPLE)}
HELD_OUT_PEOPLE = {"Anton", "Gita", "Rolf"}  # whose country is asked, and never told


def turn(question, answer):
    return {"messages": [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]}


def prompt(question, answer):
    return {"prompt": [{"role": "user", "content": question}], "answer": answer}


def sum_questions(a, b):
    return [f"What is {a} + {b}?", f"{a} + {b} = ?", f"Add {a} and {b}."]


def fact_rows():
    for person in PEOPLE:
        city, thing = HOME[person], OWNS[person]
        yield turn(f"Where does {person} live?", f"{person} lives in {city}.")
        yield turn(f"In which city is {person} at home?", f"{person} lives in {city}.")
        yield turn(f"What does {person} own?", f"{person} owns {thing}.")
        yield {"text": f"{person} lives in {city} and owns {thing}."}
        if person not in HELD_OUT_PEOPLE:
            yield turn(f"In which country does {person} live?", f"{person} lives in {city}, which is in {CITIES[city]}.")
    for city, country in CITIES.items():
        yield turn(f"In which country is {city}?", f"{city} is in {country}.")
        yield turn(f"Who lives in {city}?", ", ".join(p for p in PEOPLE if HOME[p] == city) + ".")
        yield {"text": f"{city} is a city in {country}."}


def main():
    folder = pathlib.Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    rng = random.Random(1)
    pairs = list(itertools.product(range(10), repeat=2))
    held_out = sorted(rng.sample([pair for pair in pairs if pair[0] < pair[1]], 10))  # the pair turned round is trained on
    trained = [pair for pair in pairs if pair not in held_out]
    rows = []
    for _ in range(40):
        for a, b in trained:
            rows.append(turn(rng.choice(sum_questions(a, b)), f"{a} + {b} = {a + b}"))
        rows.extend(fact_rows())
    rng.shuffle(rows)
    sums = [prompt(f"What is {a} + {b}?", str(a + b)) for a, b in held_out]
    facts = [prompt(f"In which country does {person} live?", CITIES[HOME[person]]) for person in PEOPLE if person in HELD_OUT_PEOPLE]
    for name, some in (("train", rows), ("held_out_sums", sums), ("held_out_facts", facts)):
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in some), encoding="utf-8")


if __name__ == "__main__":
    main()
