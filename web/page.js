// What the pages share: building elements, showing strangers' text as text, numbers, a plot. It defines functions alone;
// the page's own script comes behind it.
'use strict';

const byId = (id) => document.getElementById(id);

// element('p', {class: 'fine'}, 'text', child, …); falsy children are left out.
function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) if (value !== undefined) made.setAttribute(key, value);
  made.append(...children.filter((child) => child !== null && child !== undefined && child !== ''));
  return made;
}

const isNumber = (value) => typeof value === 'number' && Number.isFinite(value);
const isObject = (value) => value !== null && typeof value === 'object' && !Array.isArray(value);
const percent = (share) => `${(100 * share).toFixed(Math.abs(share) < 0.1 && share !== 0 ? 1 : 0)}%`;
const signed = (value, digits) => `${value < 0 ? '−' : '+'}${Math.abs(value).toFixed(digits)}`;
function short(value) {
  if (!isNumber(value)) return '–';
  const size = Math.abs(value);
  const rounded = Number(value.toPrecision(3));
  const text = size !== 0 && (size < 1e-3 || size >= 1e6) ? rounded.toExponential().replace('e+', 'e') : String(Number(value.toPrecision(4)));
  return text.replace(/^-/, '−');
}
const grouped = (value) => value.toLocaleString('en-US');
function duration(seconds) {
  if (seconds < 120) return `${seconds.toFixed(seconds < 10 ? 1 : 0)} s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 120) return `${minutes} min ${Math.round(seconds % 60)} s`;
  return `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}
const bytes = (count) => count >= 1 << 30 ? `${(count / (1 << 30)).toFixed(2)} GiB` : `${(count / (1 << 20)).toFixed(0)} MiB`;
const chance = (p) => p < 0.0001 ? 'p < 0.0001' : `p = ${p.toFixed(p < 0.01 ? 4 : 2)}`;

// A stranger's text inside `box`: control characters become visible pictures of themselves.
function addText(box, text) {
  for (const part of text.split(/([\u0000-\u0008\u000b-\u001f\u007f-\u009f\u202a-\u202e\u2066-\u2069])/)) {
    const code = part.length === 1 ? part.charCodeAt(0) : 0x20;
    const control = (code < 0x20 && code !== 0x0a && code !== 0x09) || (code >= 0x7f && code < 0xa0) || (code >= 0x202a && code <= 0x2069);
    const picture = code < 0x20 ? String.fromCharCode(0x2400 + code) : `U+${code.toString(16).toUpperCase().padStart(4, '0')}`;
    box.append(control ? element('span', {class: 'control', title: 'control character'}, picture) : part);
  }
  return box;
}

function shownText(text) {
  const box = element('p', {class: 'text'});
  if (typeof text === 'string' && text !== '') return addText(box, text);
  box.append(element('span', {class: 'empty'}, typeof text === 'string' ? 'nothing' : '–'));
  return box;
}

function show(id, label) {
  byId(id).hidden = false;
  if (label) byId('sections').append(element('a', {href: `#${id}`}, label));
}

function svg(name, attributes, text) {
  const made = document.createElementNS('http://www.w3.org/2000/svg', name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  if (text !== undefined) made.textContent = text;
  return made;
}

// Lines and points on common axes. series: [{name, kind, points: [[x, y], …], line: draw lines, marks: draw points}];
// kind is a class of report.css. span: {low, high, at, name}, a range of x.
function plot(title, series, xName, span) {
  const shown = series.map((one) => ({...one, points: one.points.filter(([x, y]) => isNumber(x) && isNumber(y))})).filter((one) => one.points.length);
  const all = shown.flatMap((one) => one.points);
  if (all.length < 2) return null;
  const xs = all.map(([x]) => x), ys = all.map(([, y]) => y);
  const xLow = Math.min(...xs), xHigh = Math.max(...xs), yLow = Math.min(...ys), yHigh = Math.max(...ys);
  const left = 58, right = 430, top = 12, bottom = 178;
  const x = (value) => left + (right - left) * (value - xLow) / (xHigh - xLow || 1);
  const y = (value) => bottom - (bottom - top) * (value - yLow) / (yHigh - yLow || 1);
  const ends = (one) => `${one.name}: first ${short(one.points[0][1])}, last ${short(one.points[one.points.length - 1][1])}`;
  const picture = svg('svg', {class: 'plot', viewBox: '0 0 440 212', role: 'img', 'aria-label': `${title} against ${xName}. ${shown.map(ends).join('. ')}.`});
  for (const share of [0, 0.5, 1]) {
    const value = yLow + share * (yHigh - yLow), at = xLow + share * (xHigh - xLow);
    picture.append(svg('line', {class: 'axis', x1: left, x2: right, y1: y(value), y2: y(value)}));
    picture.append(svg('text', {x: left - 6, y: y(value) + 4, 'text-anchor': 'end'}, short(Number(value.toPrecision(3)))));
    picture.append(svg('text', {x: x(at), y: bottom + 16, 'text-anchor': share === 0 ? 'start' : share === 1 ? 'end' : 'middle'}, short(Number(at.toPrecision(3)))));
  }
  picture.append(svg('text', {x: (left + right) / 2, y: bottom + 31, 'text-anchor': 'middle'}, xName));
  if (span && isNumber(span.at) && span.low <= xHigh) {
    const from = Math.max(span.low, xLow), to = Math.min(span.high, xHigh);
    picture.append(svg('rect', {class: 'span', x: x(from), y: top, width: Math.max(1, x(to) - x(from)), height: bottom - top}));
    if (span.at <= xHigh && span.at >= xLow) picture.append(svg('line', {class: 'best', x1: x(span.at), x2: x(span.at), y1: top, y2: bottom}));
  }
  for (const one of shown) {
    if (one.line) picture.append(svg('polyline', {class: one.kind, points: one.points.map(([a, b]) => `${x(a).toFixed(1)},${y(b).toFixed(1)}`).join(' ')}));
    if (one.marks) for (const [a, b] of one.points) picture.append(svg('circle', {class: one.kind, cx: x(a).toFixed(1), cy: y(b).toFixed(1), r: 3}));
  }
  const legend = element('p', {class: 'legend'}, ...shown.map((one) => addText(element('span', {class: one.marks ? one.kind : `${one.kind} line`}), one.name)));
  return element('article', {class: 'card'}, element('h3', {}, title), picture, legend);
}
