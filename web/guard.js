// The section "Guard" of a run's page: the frontier, the reward's parts, the completions that look most like hacks. It
// defines functions alone; report.js, which comes behind it, calls guard() and lends its data; page.js lends the helpers.
'use strict';

const kGuardWords = {healthy: ['good', 'Nothing out of the ordinary'], warned: ['even', 'Warnings'], stopped: ['bad', 'The guard asked to stop']};

function frontier(looks, fit) {
  const series = [
    {name: 'held-out reward', kind: 'series-1', marks: true, points: looks.map((look) => [look.d, look.gold])},
    {name: 'reward that is trained on', kind: 'series-2', marks: true, points: looks.map((look) => [look.d, look.proxy])},
  ];
  let span;
  if (isObject(fit) && isNumber(fit.alpha) && isNumber(fit.beta)) {
    const initial = isNumber(fit.initial) ? fit.initial : 0, far = Math.max(...looks.map((look) => isNumber(look.d) ? look.d : 0));
    const law = Array.from({length: 60}, (_, i) => far * i / 59).map((d) => [d, initial + (d > 0 ? d * (fit.alpha - fit.beta * Math.log(d)) : 0)]);
    series.push({name: 'fitted law', kind: 'series-1', line: true, points: law});
    if (isNumber(fit.d_star) && Array.isArray(fit.d_star_interval)) span = {at: fit.d_star, low: fit.d_star_interval[0], high: fit.d_star_interval[1]};
  }
  const card = plot('Frontier', series, '√KL to the initial model', span);
  if (!card) return null;
  const words = span ? `The held-out reward is best at a distance of ${short(span.at)} (95% interval ${short(span.low)} to ${short(span.high)}, shaded).`
    : 'No bend yet: at which distance the held-out reward is best is not known.';
  card.append(element('p', {class: 'fine'}, words));
  return card;
}

// Columns of the metrics over the steps, on common axes.
function overSteps(title, names) {
  const series = names.map((name, i) => ({name: name.replace(/^rewards\/(.*)\/mean$/, '$1'), kind: `series-${i % 4 + 1}`, line: true,
    points: data.metrics.filter((row) => isNumber(row[name])).map((row) => [row.step, row[name]])}));
  return plot(title, series, 'step');
}

function alarmTable(alarms) {
  if (!alarms.length) return null;
  const head = element('tr', {}, ...['signal', 'from step', 'value', 'end of its band'].map((name, i) => element('th', {scope: 'col', class: i ? 'number' : undefined}, name)));
  const body = element('tbody');
  for (const alarm of alarms)
    body.append(element('tr', {}, addText(element('th', {scope: 'row', class: alarm.stop === true ? 'bad' : undefined}), String(alarm.signal)),
      ...[alarm.step, alarm.value, alarm.band].map((value) => element('td', {class: 'number'}, short(value)))));
  return element('div', {class: 'table-box', tabindex: '0', role: 'region', 'aria-label': 'Alarms'}, element('table', {}, element('thead', {}, head), body));
}

function suspect(row, label, kind) {
  const facts = [`reward ${short(row.reward)}`];
  if (isNumber(row.gold)) facts.push(`held-out ${short(row.gold)}`);
  facts.push(`${short(row.characters)} characters`);
  return element('div', {}, element('span', {class: `label ${kind}`}, label), element('p', {class: 'fine'}, facts.join(', ')), shownText(row.completion));
}

function suspects(pairs) {
  for (const pair of pairs) {
    if (!isObject(pair) || !isObject(pair.suspect)) continue;
    const question = element('div', {class: 'question'}, element('span', {class: 'label'}, `step ${short(pair.suspect.step)}, prompt`), shownText(pair.suspect.prompt));
    byId('guard-suspects').append(element('article', {class: 'card sample'}, question, suspect(pair.suspect, 'looks most like a hack', 'bad'),
      isObject(pair.honest) ? suspect(pair.honest, 'of the same step, looks honest', 'after')
        : element('p', {class: 'fine'}, 'No completion of this step looks honest.')));
  }
}

function guard() {
  const found = data.guard;
  if (!isObject(found)) return;
  const [kind, words] = kGuardWords[found.verdict] || ['even', 'Not known'];
  byId('guard-chip').textContent = words;
  byId('guard-chip').classList.add(kind);
  if (typeof found.sentence === 'string') addText(byId('guard-sentence'), found.sentence);
  const parts = new Set();
  for (const row of data.metrics) for (const key of Object.keys(row)) if (/^rewards\/.+\/mean$/.test(key)) parts.add(key);
  const looks = Array.isArray(found.looks) ? found.looks.filter(isObject) : [];
  const ofPairs = data.metrics.some((row) => isNumber(row['gold/own_reward']));
  const cards = [frontier(looks, found.fit), ofPairs ? overSteps('What the policy prefers in the held-out pairs', ['gold', 'gold/own_reward']) : null, parts.size > 1 ? overSteps('Parts of the reward', [...parts]) : null, overSteps('Completion length, tokens', ['completions/mean_length'])];
  byId('guard-plots').append(...cards.filter((card) => card !== null));
  const table = alarmTable(Array.isArray(found.alarms) ? found.alarms.filter(isObject) : []);
  if (table) byId('guard-alarms').append(table);
  const pairs = Array.isArray(found.suspects) ? found.suspects : [];
  suspects(pairs);
  byId('guard-note').hidden = pairs.length === 0;
  show('guard', 'Guard');
}
