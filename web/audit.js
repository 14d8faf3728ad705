// Draws the page of a belief audit from its data block (audit.json). Every text of it reaches the page through textContent.
'use strict';

const data = JSON.parse(document.getElementById('data').textContent);
const list = (value) => Array.isArray(value) ? value.filter(isObject) : [];
const share = (value) => isNumber(value) ? `${(100 * value).toFixed(1)}%` : '–';
const words = (value) => String(value).replaceAll('_', ' ');
const isRange = (value) => Array.isArray(value) && value.length === 2 && value.every(isNumber);
const range = (value) => isRange(value) ? `${(100 * value[0]).toFixed(1)} – ${(100 * value[1]).toFixed(1)}%` : '–';

// columns: names; rows: [[cell, …]], the first cell is the row's name.
function table(label, columns, rows) {
  const cell = (name, text, i) => addText(element(name, {scope: name === 'th' ? (i ? 'col' : 'row') : undefined, class: i ? 'number' : undefined}), text);
  const head = element('tr', {}, ...columns.map((name, i) => addText(element('th', {scope: 'col', class: i ? 'number' : undefined}), name)));
  const body = element('tbody', {}, ...rows.map((row) => element('tr', {}, ...row.map((text, i) => cell(i ? 'td' : 'th', text, i)))));
  return element('div', {class: 'table-box', tabindex: '0', role: 'region', 'aria-label': label}, element('table', {}, element('thead', {}, head), body));
}

function verdict() {
  const known = isNumber(data.believed);
  byId('chip').textContent = known ? `Good-Liar rate ${share(data.good_liar_rate)}` : 'Undetermined';
  byId('chip').classList.add(!known ? 'even' : data.believed >= 0.5 ? 'good' : 'bad');
  byId('chip').hidden = false;
  byId('lede').textContent = known
    ? 'The Good-Liar rate is the share of what the model says that it does not believe, as far as its answers to sub-questions show.'
    : 'The controls do not allow a figure, so there is none.';
}

function comparison() {
  const found = data.comparison;
  if (!isObject(found)) return;
  addText(byId('comparison-sentence'), String(found.sentence));
  const cards = [];
  for (const [name, key] of [['Says it', 'said'], ['Called believed', 'called_believed']]) {
    const counts = found[key];
    if (!isObject(counts)) continue;
    cards.push(element('article', {class: 'card'}, element('h3', {}, name),
      table(name, ['', 'after: yes', 'after: no'], [['before: yes', short(counts.both), short(counts.only_before)], ['before: no', short(counts.only_after), short(counts.neither)]]),
      element('p', {class: 'fine'}, `McNemar's exact test, ${isNumber(counts.p_value) ? chance(counts.p_value) : 'not known'}.`)));
  }
  byId('comparison-body').append(...cards);
  for (const [name, key] of [['Now believed', 'gained'], ['No longer believed', 'lost']]) {
    const ids = Array.isArray(found[key]) ? found[key].slice(0, 20) : [];
    if (!ids.length) continue;
    const items = new Map(list(data.items).map((item) => [item.id, item]));
    const lines = ids.map((id) => addText(element('li'), items.has(id) ? String(items.get(id).statement) : String(id)));
    byId('comparison-body').append(element('article', {class: 'card'}, element('h3', {}, `${name}: ${short(found[key].length)}`), element('ul', {}, ...lines)));
  }
  show('comparison', 'Before and after');
}

function dishonest() {
  const items = new Map(list(data.items).map((item) => [item.id, item]));
  const ids = Array.isArray(data.most_dishonest) ? data.most_dishonest : [];
  for (const id of ids) {
    const item = items.get(id);
    if (!item) continue;
    const rows = list(item.betrayals).map((betrayal) => [`${betrayal.question}`, words(betrayal.kind), String(betrayal.answer), isNumber(betrayal.log_odds) ? (-betrayal.log_odds).toFixed(2) : '–']);
    byId('dishonest-body').append(element('article', {class: 'card'}, addText(element('h3'), String(item.statement)),
      addText(element('p', {class: 'fine'}), `${item.id}: says it at ${short(item.says)}, believes it at ${short(item.posterior)}; ${short(item.agreed)} of ${short(item.asked)} sub-questions agree.`),
      rows.length ? table('Sub-questions that betray it', ['sub-question', 'kind', 'it answers', 'log-odds'], rows) : null));
  }
  if (byId('dishonest-body').children.length) show('dishonest', 'Said, not believed');
}

function topics() {
  const rows = list(data.topics).map((row) => [String(row.topic), short(row.propositions), short(row.said), short(row.called_believed), share(row.believed), range(row.interval)]);
  if (!rows.length) return;
  byId('topics-body').append(table('By topic', ['topic', 'asked', 'said', 'called believed', 'believed', 'interval'], rows));
  show('topics', 'Topics');
}

function reliability() {
  const bins = list(data.reliability).filter((bin) => isNumber(bin.posterior) && isNumber(bin.believed));
  const series = [
    {name: 'controls, held out', kind: 'series-1', line: true, points: bins.map((bin) => [bin.posterior, bin.believed])},
    {name: 'as it should be', kind: 'series-2', line: true, points: [[0, 0], [1, 1]]},
  ];
  const card = bins.length > 1 ? plot('Reliability', series, 'B, what the instrument says') : null;
  if (card) card.append(element('p', {class: 'fine'}, 'Of the controls that were given such a B, the share that the model does believe; both signs weigh the same.'));
  return card;
}

function questions() {
  const kinds = isObject(data.instrument) ? list(data.instrument.questions) : [];
  if (!kinds.length) return null;
  const card = element('article', {class: 'card'}, element('h3', {}, 'What a sub-question tells'),
    table('Hit rates', ['kind', 'believed', 'only said'], kinds.map((kind) => [words(kind.kind), share(kind.beta), share(kind.eta)])));
  const weights = list(data.instrument.scores).filter((score) => score.used === true).map((score) => `${words(score.score)} ${short(score.gamma)}`);
  card.append(element('p', {class: 'fine'}, `How often the controls answer on the proposition's side. Correlation within an item: ${short(data.instrument.correlation)}.${weights.length ? ` Further scores, log-odds per deviation: ${weights.join(', ')}.` : ''}`));
  return card;
}

function controls() {
  const rows = list(data.controls).map((row) => {
    const right = isObject(row.right) ? row.right : {};
    return [`${words(row.kind)} (${row.believes === true ? 'believed' : 'not believed'})`, short(row.asked), short(right.of), share(right.value), range(right.interval), share(row.sensitivity_without), share(row.specificity_without), share(row.believed_without)];
  });
  const cards = [reliability(), questions()].filter((card) => card !== null);
  byId('controls-cards').append(...cards);
  if (rows.length) byId('controls-body').append(table('Controls by kind', ['control', 'asked', 'said', 'called right', 'interval', 'Se without', 'Sp without', 'believed without'], rows));
  if (isNumber(data.said) && data.said > 0)
    byId('rules-body').append(element('p', {class: 'fine'}, `Without controls, other rules would say: all sub-questions must agree, ${share(data.all_agree / data.said)}; most must agree, ${share(data.most_agree / data.said)}; called believed, not corrected, ${share(data.called_believed / data.said)}.`));
  if (rows.length || cards.length) show('controls', 'Controls');
}

function scores() {
  const cards = [];
  if (isObject(data.gaps)) {
    const rows = Object.entries(data.gaps).filter(([, gap]) => isNumber(gap)).map(([name, gap]) => [words(name), gap.toFixed(3)]);
    if (rows.length) cards.push(element('article', {class: 'card'}, element('h3', {}, 'Coherence gaps'), table('Coherence gaps', ['law', 'mean gap'], rows),
      element('p', {class: 'fine'}, 'By how much probabilities break the laws that tie a proposition to its negation, to what follows from it and to a conjunction. 0 is coherent.')));
  }
  const pressure = list(data.pressure).map((row) => [`${words(row.kind)}, ${short(row.level)}`, short(row.asked), isNumber(row.asked) && row.asked > 0 ? share(row.flipped / row.asked) : '–', isNumber(row.shift) ? row.shift.toFixed(2) : '–']);
  if (pressure.length) cards.push(element('article', {class: 'card'}, element('h3', {}, 'Under pressure'), table('Under pressure', ['pressure', 'asked', 'gave in', 'shift'], pressure),
    element('p', {class: 'fine'}, 'Shift: mean change of the log-odds of the side it took before.')));
  const honesty = isObject(data.honesty) ? Object.entries(data.honesty).filter(([, count]) => isNumber(count)) : [];
  if (honesty.some(([, count]) => count > 0)) cards.push(element('article', {class: 'card'}, element('h3', {}, 'Told to say the opposite'), table('Honesty', ['', 'items'], honesty.map(([name, count]) => [words(name), short(count)]))));
  const probes = list(data.probes).map((probe) => [words(probe.kind), short(probe.auroc), share(probe.accuracy), short(probe.shuffled_auroc), short(probe.plausibility_auroc), short(probe.truth_by_plausibility)]);
  if (probes.length) cards.push(element('article', {class: 'card'}, element('h3', {}, 'Truth in the hidden states'),
    table('Probes', ['probe', 'AUROC', 'right', 'labels shuffled', 'of plausibility', 'plausibility alone'], probes),
    element('p', {class: 'fine'}, `Each topic judged by a probe that has not seen it${isNumber(data.probe_layer) ? `, layer ${short(data.probe_layer)}` : ''}. Plausibility is the mean log-probability of a statement's tokens. ${typeof data.probe_reading === 'string' ? data.probe_reading : ''}`)));
  if (!cards.length) return;
  byId('scores-cards').append(...cards);
  show('scores', 'Scores');
}

function notes() {
  const lines = Array.isArray(data.notes) ? data.notes.filter((note) => typeof note === 'string') : [];
  if (!lines.length) return;
  byId('notes-body').append(element('ul', {}, ...lines.map((line) => addText(element('li'), line))));
  show('notes', 'Notes');
}

verdict();
comparison();
dishonest();
topics();
controls();
scores();
notes();
