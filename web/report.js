// Draws the page of a run from its data block. Every text of the run reaches the page through textContent.
'use strict';

const data = JSON.parse(document.getElementById('data').textContent);
const summary = data.summary || {};

// ---- verdict ---------------------------------------------------------------------------------------------------

function verdict() {
  const greedy = isObject(summary.evaluations) && summary.evaluations.greedy;
  const preference = isObject(summary.evaluations) && summary.evaluations.preference;
  if (!summary.verdict) {
    byId('verdict').textContent = data.summary ? 'The run is done.' : 'This run has not finished.';
    if (!data.summary) {
      const last = data.metrics[data.metrics.length - 1];
      byId('lede').textContent = last ? `Its last row is of step ${short(last.step)}. It wrote no summary.` : 'It wrote no row yet.';
    }
  }
  const range = greedy ? greedy.difference_interval : isObject(preference) && isObject(preference.margin) && preference.margin.interval;
  if (Array.isArray(range) && range.length === 2) {
    const [kind, text] = range[0] > 0 ? ['good', 'Better, beyond chance'] : range[1] < 0 ? ['bad', 'Worse, beyond chance'] : ['even', 'No difference beyond chance'];
    byId('chip').textContent = text;
    byId('chip').classList.add(kind);
    byId('chip').hidden = false;
  }
  // The figures in a verdict's closing parenthesis go below the headline.
  const [, headline, figures] = /^(.*\S) \(([^()]*)\)\.$/s.exec(summary.verdict || '') || [];
  if (headline) byId('verdict').textContent = `${headline}.`;
  if (headline) byId('lede').textContent = `${figures}.`;
  else if (summary.verdict && greedy && greedy.before && greedy.after && isNumber(greedy.before.accuracy) && isNumber(greedy.after.accuracy))
    byId('lede').textContent = `${greedy.after.total} held-out rows: ${greedy.before.correct} right before, ${greedy.after.correct} after` +
      (isNumber(summary.seconds) ? `, ${duration(summary.seconds)} apart.` : '.');
}

// ---- before and after ------------------------------------------------------------------------------------------

// Both accuracies with their 95% intervals on one axis from 0 to 100%.
function intervalPicture(evaluation) {
  const left = 46, right = 424, x = (share) => left + share * (right - left);
  const said = (side) => `${percent(side.accuracy)}, interval ${percent(side.interval[0])} to ${percent(side.interval[1])}`;
  const picture = svg('svg', {class: 'intervals', viewBox: '0 0 440 84', role: 'img',
    'aria-label': `Accuracy before: ${said(evaluation.before)}. After: ${said(evaluation.after)}.`});
  for (const share of [0, 0.25, 0.5, 0.75, 1]) {
    picture.append(svg('line', {class: 'axis', x1: x(share), x2: x(share), y1: 6, y2: 62}));
    picture.append(svg('text', {x: x(share), y: 78, 'text-anchor': 'middle'}, `${100 * share}%`));
  }
  ['before', 'after'].forEach((name, row) => {
    const side = evaluation[name], y = 20 + 28 * row;
    picture.append(svg('text', {x: 0, y: y + 4}, name));
    picture.append(svg('line', {class: name, x1: x(side.interval[0]), x2: x(side.interval[1]), y1: y, y2: y}));
    picture.append(svg('circle', {class: name, cx: x(side.accuracy), cy: y, r: 6}));
  });
  return picture;
}

function accuracyCard(title, evaluation) {
  const {before, after, mcnemar} = evaluation;
  const complete = [before, after].every((side) => isObject(side) && isNumber(side.accuracy) && Array.isArray(side.interval) && side.interval.every(isNumber));
  if (!complete) return null;
  const points = 100 * (isNumber(evaluation.difference) ? evaluation.difference : after.accuracy - before.accuracy);
  const range = evaluation.difference_interval;
  const known = Array.isArray(range) && range.every(isNumber);
  const kind = known && range[0] > 0 ? 'good' : known && range[1] < 0 ? 'bad' : 'even';
  const card = element('article', {class: 'card'}, element('h3', {}, title),
    element('p', {class: 'headline'}, element('span', {class: 'was'}, percent(before.accuracy)), element('span', {class: 'arrow', 'aria-label': 'to'}, '→'),
      element('span', {class: 'is'}, percent(after.accuracy)), element('span', {class: `change ${kind}`}, `${signed(points, 0)} points`)),
    intervalPicture(evaluation));
  const counts = element('table', {}, element('thead', {}, element('tr', {}, element('th', {}, ''), element('th', {class: 'number'}, 'right'), element('th', {class: 'number'}, 'of'), element('th', {class: 'number'}, '95% interval'))));
  const body = element('tbody');
  for (const [name, side] of [['before', before], ['after', after]])
    body.append(element('tr', {}, element('th', {scope: 'row'}, name), element('td', {class: 'number'}, short(side.correct)), element('td', {class: 'number'}, short(side.total)),
      element('td', {class: 'number'}, `${percent(side.interval[0])} – ${percent(side.interval[1])}`)));
  counts.append(body);
  card.append(element('details', {}, element('summary', {}, 'As a table'), counts));
  if (known) card.append(element('p', {class: 'fine'}, `Difference ${signed(points, 1)} points, 95% interval ${signed(100 * range[0], 1)} to ${signed(100 * range[1], 1)}.`));
  if (isObject(mcnemar) && isNumber(mcnemar.p))
    card.append(element('p', {class: 'fine'}, `Row by row: ${mcnemar.gained} became right, ${mcnemar.lost} became wrong (McNemar's exact test, ${chance(mcnemar.p)}).`));
  return card;
}

function heldOutLossCard(loss, accuracy) {
  if (!isObject(loss) || !isNumber(loss.before) || !isNumber(loss.after)) return null;
  const range = loss.interval, known = Array.isArray(range) && range.every(isNumber);
  const kind = known && range[1] < 0 ? 'good' : known && range[0] > 0 ? 'bad' : 'even';
  const card = element('article', {class: 'card'}, element('h3', {}, 'Loss on held-out rows'),
    element('p', {class: 'headline'}, element('span', {class: 'was'}, loss.before.toFixed(3)), element('span', {class: 'arrow', 'aria-label': 'to'}, '→'),
      element('span', {class: 'is'}, loss.after.toFixed(3)), element('span', {class: `change ${kind}`}, `${signed(loss.after - loss.before, 3)} nats per token`)));
  if (known) card.append(element('p', {class: 'fine'}, `95% interval ${signed(range[0], 4)} to ${signed(range[1], 4)}, bootstrap over ${short(loss.rows)} rows.`));
  if (isNumber(loss.rows_better) && isNumber(loss.rows_worse))
    card.append(element('p', {class: 'fine'}, `Row by row: ${loss.rows_better} have become likelier, ${loss.rows_worse} less likely.`));
  if (isObject(accuracy) && isNumber(accuracy.before) && isNumber(accuracy.after))
    card.append(element('p', {class: 'fine'}, `The likeliest token was the right one for ${percent(accuracy.before)} of the tokens, now for ${percent(accuracy.after)}.`));
  return card;
}

function preferenceCard(preference) {
  if (!isObject(preference)) return null;
  const card = element('article', {class: 'card'}, element('h3', {}, 'Held-out preferences'));
  const head = ['', 'before', 'after', 'difference', '95% interval'].map((name) => element('th', name ? {class: 'number'} : {}, name));
  const body = element('tbody');
  for (const [name, change] of Object.entries(preference)) {
    if (!isObject(change) || !isNumber(change.before) || !isNumber(change.after)) continue;
    const range = change.interval, known = Array.isArray(range) && range.length === 2 && range.every(isNumber);
    body.append(element('tr', {}, element('th', {scope: 'row'}, name), element('td', {class: 'number'}, short(change.before)), element('td', {class: 'number'}, short(change.after)),
      element('td', {class: 'number'}, signed(change.after - change.before, 3)), element('td', {class: 'number'}, known ? `${signed(range[0], 3)} – ${signed(range[1], 3)}` : '–')));
  }
  if (!body.children.length) return null;
  card.append(element('div', {class: 'table-box', tabindex: '0', role: 'region', 'aria-label': 'Held-out preferences'},
    element('table', {}, element('thead', {}, element('tr', {}, ...head)), body)));
  card.append(element('p', {class: 'fine'}, `Means over ${short(preference.rows)} held-out rows` + (preference.unit === 'nats' ? ': log-probability of a completion, in nats' : ': the score') +
    '. The margin is chosen less rejected. Intervals: bootstrap over rows.'));
  return card;
}

function warnings() {
  for (const text of Array.isArray(summary.warnings) ? summary.warnings : [])
    if (typeof text === 'string') byId('prose').append(addText(element('p', {class: 'bad'}), text));
}

function rowAccounts() {
  if (!isObject(summary.rows)) return;
  for (const [name, set] of Object.entries(summary.rows)) {
    if (!isObject(set) || !isNumber(set.rows)) continue;
    const list = element('ul', {}, element('li', {}, `${short(set.rows)} rows, of which ${short(set.kept)} train: ${grouped(set.tokens)} tokens, ${grouped(set.counted_tokens)} of them count`));
    for (const fate of Array.isArray(set.fates) ? set.fates.filter(isObject) : [])
      list.append(element('li', {}, `${short(fate.rows)}: ${fate.what}` + (fate.tokens_lost ? `, ${grouped(fate.tokens_lost)} tokens lost` : '') +
        (Array.isArray(fate.first) ? ` (rows ${fate.first.join(', ')}${fate.first.length < fate.rows ? ', …' : ''})` : '')));
    byId('rows-body').append(element('h3', {}, name === 'train' ? 'Training' : 'Held out'), list);
  }
  if (byId('rows-body').children.length) show('rows', 'Rows');
}

function evaluations() {
  if (!isObject(summary.evaluations)) return;
  const titles = {greedy: 'Greedy answers', sampled: 'Sampled answers', ranking: 'Chosen ahead of rejected', steps: 'Steps judged rightly'};
  for (const [name, evaluation] of Object.entries(summary.evaluations)) {
    if (!isObject(evaluation) || name === 'prose') continue;
    const card = accuracyCard(titles[name] || name, evaluation);
    if (card) byId('accuracy').append(card);
  }
  const lossCard = heldOutLossCard(summary.evaluations.loss, summary.evaluations.token_accuracy);
  if (lossCard) byId('accuracy').append(lossCard);
  const preferences = preferenceCard(summary.evaluations.preference);
  if (preferences) byId('accuracy').append(preferences);
  warnings();
  const prose = summary.evaluations.prose;
  if (isObject(prose) && isNumber(prose.before_nats_per_token) && isNumber(prose.after_nats_per_token)) {
    const difference = isNumber(prose.difference) ? prose.difference : prose.after_nats_per_token - prose.before_nats_per_token;
    const range = prose.interval, known = Array.isArray(range) && range.every(isNumber);
    const [kind, words] = !known ? ['even', 'Prose unlike the task changed by'] : range[0] > 0 ? ['bad', 'Prose unlike the task has become less likely, by']
      : range[1] < 0 ? ['good', 'Prose unlike the task has become more likely, by'] : ['good', 'No sign that prose unlike the task became less likely:'];
    byId('prose').append(element('p', {}, element('strong', {class: kind}, words), ` ${kind !== 'even' && words.endsWith('by') ? Math.abs(difference).toFixed(4) : signed(difference, 4)} nats per token`,
      known ? ` (95% interval ${signed(range[0], 4)} to ${signed(range[1], 4)})` : '', `, from ${prose.before_nats_per_token.toFixed(4)} to ${prose.after_nats_per_token.toFixed(4)}.`));
  }
  if (byId('accuracy').children.length || byId('prose').children.length) show('evaluation', 'Before and after');
}

function talk() {
  const talks = typeof summary.talk_to_it === 'string' && summary.talk_to_it !== '';
  const command = talks ? summary.talk_to_it : summary.use_it;
  if (typeof command !== 'string' || command === '') return;
  const code = element('code', {}, command), copy = element('button', {type: 'button'}, 'Copy');
  copy.addEventListener('click', async () => {
    try {
      await navigator.clipboard.writeText(command);
      copy.textContent = 'Copied';
    } catch {  // a page from a file may not write the clipboard: select, so that one key copies
      getSelection().selectAllChildren(code);
      copy.textContent = 'Press Ctrl+C';
    }
  });
  byId('talk').append(element('div', {class: 'card talk'}, element('h3', {}, talks ? 'Talk to it' : 'Use it'), element('div', {class: 'command'}, code, copy)));
  show('evaluation');
}

// ---- figures, machine, recipe ----------------------------------------------------------------------------------

function figures() {
  const rows = [];
  if (isNumber(summary.steps)) rows.push(['optimizer steps', grouped(summary.steps)]);
  if (isNumber(summary.seconds)) rows.push(['from start to end', duration(summary.seconds)]);
  if (isNumber(summary.step_time_s)) rows.push(['median step', duration(summary.step_time_s)]);
  if (isNumber(summary.num_tokens)) rows.push(['tokens', grouped(summary.num_tokens)]);
  if (isNumber(summary.peak_bytes)) rows.push(['peak memory', bytes(summary.peak_bytes)]);
  if (isNumber(summary.seed)) rows.push(['seed', String(summary.seed)]);
  const gaps = data.metrics.map((row) => row['sampling/max_abs_logprob_gap']).filter(isNumber);
  if (gaps.length) {
    const gap = Math.max(...gaps);
    byId('gap').textContent = gap === 0 ? 'The log-probabilities that trained were, bit for bit, those that the sampler reported.'
      : `The largest gap between a log-probability as sampled and as trained was ${short(gap)}; it should be 0.`;
  }
  for (const [name, value] of rows) byId('figures').append(element('div', {}, element('dt', {}, name), element('dd', {}, value)));
  if (rows.length) show('facts', 'Figures');
}

function machine() {
  const rows = [['candor', summary.candor_version], ['started', summary.started], ['command', summary.command]];
  if (isObject(summary.machine)) rows.push(...Object.entries(summary.machine));
  for (const [name, value] of rows) {
    if (value === undefined || value === null) continue;
    const text = Array.isArray(value) ? value.join(' ') : typeof value === 'object' ? JSON.stringify(value) : String(value);
    byId('machine-body').append(element('dt', {}, name), element('dd', {}, text));
  }
  if (byId('machine-body').children.length) show('machine', 'Machine');
}

function recipe() {
  if (!data.recipe) return;
  addText(byId('recipe-body'), data.recipe);
  show('recipe', 'Recipe');
}

// ---- curves ----------------------------------------------------------------------------------------------------

const kCurves = [
  ['reward', 'Reward', 'mean over the step\'s completions'],
  ['rewards/margins', 'Reward margin', 'chosen less rejected'], ['rewards/accuracies', 'Chosen ahead of rejected', 'share of the step\'s pairs'],
  ['logps/chosen', 'Log-probability of chosen completions', 'nats'], ['logps/rejected', 'Log-probability of rejected completions', 'nats'],
  ['rewards/*', '', 'mean of one reward'], ['accuracy', 'Chosen scored higher', 'share of the step\'s pairs'], ['margin', 'Score margin', 'chosen less rejected'],
  ['eval_loss', 'Loss on held-out rows', ''], ['mean_token_accuracy', 'Accuracy of tokens', 'share of the step\'s labels'],
  ['completions/mean_length', 'Completion length', 'mean, tokens'], ['entropy', 'Entropy', 'mean per token, nats'],
  ['kl', 'KL to the initial model', 'per token, nats'], ['grad_norm', 'Gradient norm', 'before clipping'], ['loss', 'Loss', ''],
  ['learning_rate', 'Learning rate', ''], ['step_time', 'Step time', 'seconds'], ['eval/*', '', ''], ['eval_entropy', 'Entropy on held-out rows', ''],
  ['eval_mean_token_accuracy', 'Accuracy of tokens on held-out rows', ''],
];

function curveList() {
  const present = new Set();
  for (const row of data.metrics) for (const [key, value] of Object.entries(row)) if (isNumber(value)) present.add(key);
  const list = [];
  for (const [key, title, unit] of kCurves) {
    if (!key.endsWith('*')) {
      if (present.has(key)) list.push([key, title, unit]);
      continue;
    }
    for (const name of present)
      if (name.startsWith(key.slice(0, -1)) && !/\/std$|_std$/.test(name) && !list.some(([listed]) => listed === name)) list.push([name, name, unit]);
  }
  const parts = list.filter(([key]) => key.startsWith('rewards/'));
  return parts.length === 1 ? list.filter((curve) => curve !== parts[0]) : list;  // one reward alone is the reward
}

// The mean of up to 2·reach + 1 neighbours.
function movingAverage(values, reach) {
  return values.map((_, i) => {
    const near = values.slice(Math.max(0, i - reach), i + reach + 1);
    return near.reduce((sum, value) => sum + value, 0) / near.length;
  });
}

const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const charts = [];

function colours(chart) {
  const [smooth, raw] = chart.data.datasets;
  smooth.borderColor = colour('--after');
  raw.borderColor = raw.pointBackgroundColor = raw.pointBorderColor = colour('--dot');
  for (const axis of Object.values(chart.options.scales)) {
    axis.grid.color = axis.grid.borderColor = colour('--line');
    axis.ticks.color = colour('--soft');
  }
}

function drawChart(canvas, steps, values) {
  const smooth = movingAverage(values, Math.floor(values.length / 12));
  const axis = (more) => ({grid: {}, ticks: {maxTicksLimit: 5, maxRotation: 0, font: {size: 11}, ...more}});
  const low = Math.min(...values), high = Math.max(...values), room = 0.08 * (high - low) || 0.5 * Math.abs(high) || 1;
  const chart = new Chart(canvas, {
    type: 'line',
    data: {labels: steps, datasets: [
      {label: 'average', data: smooth, borderWidth: 2.5, pointRadius: 0, pointHitRadius: 0},
      {label: 'step', data: values, borderWidth: 1.2, pointRadius: values.length > 80 ? 0 : 2, pointHitRadius: 6},
    ]},
    options: {
      animation: false, maintainAspectRatio: false, interaction: {mode: 'index', intersect: false},
      plugins: {legend: {display: false}, tooltip: {displayColors: false, callbacks: {
        title: (items) => `step ${items[0].label}`, label: (item) => `${item.dataset.label}: ${short(item.raw)}`}}},
      scales: {x: axis({maxTicksLimit: 7}), y: {...axis({callback: (value) => short(Number(value.toPrecision(3)))}),
        suggestedMin: low >= 0 ? Math.max(0, low - room) : low - room, suggestedMax: high + room}},
    },
  });
  colours(chart);
  chart.update();
  charts.push(chart);
}

function valueTable(title, steps, values) {
  const details = element('details', {}, element('summary', {}, 'As a table'));
  details.addEventListener('toggle', () => {
    if (!details.open || details.children.length > 1) return;
    const body = element('tbody');
    steps.forEach((step, i) => body.append(element('tr', {}, element('th', {scope: 'row'}, String(step)), element('td', {class: 'number'}, short(values[i])))));
    details.append(element('div', {class: 'table-box', tabindex: '0', role: 'region', 'aria-label': `${title}, values`},
      element('table', {}, element('thead', {}, element('tr', {}, element('th', {scope: 'col'}, 'step'), element('th', {scope: 'col', class: 'number'}, title))), body)));
  });
  return details;
}

function curves() {
  for (const [key, title, unit] of curveList()) {
    const rows = data.metrics.filter((row) => isNumber(row[key]));
    if (rows.length < 2) continue;
    const steps = rows.map((row, i) => isNumber(row.step) ? row.step : i), values = rows.map((row) => row[key]);
    const first = values[0], last = values[values.length - 1];
    const canvas = element('canvas', {role: 'img', 'aria-label':
      `${title} over ${rows.length} steps: first ${short(first)}, last ${short(last)}, lowest ${short(Math.min(...values))}, highest ${short(Math.max(...values))}.`});
    byId('charts').append(element('article', {class: 'card'},
      element('h3', {}, title), element('div', {class: 'chart-note'}, element('span', {}, unit), element('span', {}, `${short(first)} → ${short(last)}`)),
      element('div', {class: 'canvas-box'}, canvas), valueTable(title, steps, values)));
    drawChart(canvas, steps, values);
  }
  if (charts.length) show('curves', 'Curves');
  matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => charts.forEach((chart) => { colours(chart); chart.update(); }));
}

// ---- samples and completions -----------------------------------------------------------------------------------

function marked(label, kind, correct) {
  const mark = correct === true ? ' ✓ right' : correct === false ? ' ✗ wrong' : '';
  return element('span', {class: `label ${kind}`}, label, mark);
}

function samples() {
  const rows = Array.isArray(summary.samples) ? summary.samples.filter(isObject) : [];
  if (!rows.length) return;
  for (const row of rows) {
    const question = element('div', {class: 'question'}, element('span', {class: 'label'}, 'prompt'), shownText(row.prompt));
    if (row.answer !== undefined && row.answer !== null) question.append(addText(element('span', {class: 'answer'}), `expected: ${row.answer}`));
    byId('samples-body').append(element('article', {class: 'card sample'}, question,
      element('div', {}, marked('before', '', row.before_correct), shownText(row.before)),
      element('div', {}, marked('after', 'after', row.after_correct), shownText(row.after))));
  }
  byId('samples-note').textContent = `${rows.length} of the held-out rows, answered greedily.`;
  show('samples', 'Samples');
}

function completionRow(row) {
  const facts = [];
  if (isObject(row.rewards) && Object.keys(row.rewards).length > 1)
    for (const [name, value] of Object.entries(row.rewards)) facts.push(`${name} ${short(value)}`);
  if (isNumber(row.advantage)) facts.push(`advantage ${signed(row.advantage, 2)}`);
  if (row.finish_reason === 'length') facts.push('cut at the limit');
  return element('div', {class: 'completion'},
    element('div', {}, element('div', {class: 'reward', title: 'reward'}, short(row.reward)), ...facts.map((fact) => element('div', {class: 'meta'}, fact))),
    shownText(row.completion));
}

function completions() {
  const bySteps = new Map();
  for (const row of data.completions) {
    if (!bySteps.has(row.step)) bySteps.set(row.step, []);
    bySteps.get(row.step).push(row);
  }
  const steps = [...bySteps.keys()];
  if (!steps.length) return;
  const slider = byId('step');
  slider.max = steps.length - 1;
  const draw = () => {
    const i = Number(slider.value), groups = new Map();
    for (const row of bySteps.get(steps[i])) {
      const key = String(row.prompt);
      if (!groups.has(key)) groups.set(key, []);
      groups.get(key).push(row);
    }
    byId('step-number').textContent = String(steps[i]);
    slider.setAttribute('aria-valuetext', `step ${steps[i]}`);
    byId('step-back').disabled = i === 0;
    byId('step-on').disabled = i === steps.length - 1;
    byId('completions-body').replaceChildren(...[...groups].map(([, rows]) => element('article', {class: 'card group'},
      element('span', {class: 'label'}, 'prompt'), shownText(rows[0].prompt), ...rows.map(completionRow))));
  };
  const move = (by) => { slider.value = String(Number(slider.value) + by); draw(); };
  slider.addEventListener('input', draw);
  byId('step-back').addEventListener('click', () => move(-1));
  byId('step-on').addEventListener('click', () => move(1));
  byId('completions-note').textContent = `${grouped(data.completions.length)} of the ${grouped(data.rows.completions)} completions that the run wrote; the figure is the reward.`;
  draw();
  show('completions', 'Completions');
}

for (const part of [verdict, evaluations, talk, guard, figures, rowAccounts, samples, curves, completions, machine, recipe]) part();
