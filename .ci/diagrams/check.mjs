// Does a tool that reads the format accept each diagram of the state machine, and do they tell the same machine?
//
//   node check.mjs FOLDER        FOLDER holds machine.mmd, machine.dot, machine.scxml and machine.xstate.json
//
// Each reader is first shown a broken copy, which it must refuse: a check that cannot fail is worth nothing. PlantUML has no
// reader for node; .ci/run asks plantuml itself. Ends with one line for each format, or with exit code 1.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { JSDOM } from 'jsdom';
import scxml from '@scion-scxml/scxml';
import { instance } from '@viz-js/viz';
import { createMachine, initialTransition, transition } from 'xstate';

// mermaid wants a browser's globals for its sanitiser, also when it only parses.
const { window } = new JSDOM('');
Object.assign(globalThis, { window, document: window.document });
const mermaid = (await import('mermaid')).default;
const viz = await instance();

const need = (truth, message) => {
  if (!truth) throw new Error(message);
};

/// Mermaid: parses, as a state diagram. Gives the names of the states.
async function readMermaid(text) {
  const { diagramType } = await mermaid.parse(text);
  need(diagramType.startsWith('stateDiagram'), `is a ${diagramType}`);
  const { db } = await mermaid.mermaidAPI.getDiagramFromText(text);
  const states = new Set();
  const walk = (statements) => {
    for (const s of statements) {
      const named = s.stmt === 'relation' ? [s.state1, s.state2] : s.stmt === 'state' ? [s] : [];
      named.filter((n) => !/_(start|end)$/.test(n.id)).forEach((n) => states.add(n.id));
      walk(s.doc ?? []);
    }
  };
  walk(db.rootDoc);
  return states;
}

/// DOT: graphviz lays it out. Gives the names of the nodes, but for the point from which the first arrow comes.
async function readDot(text) {
  const drawn = viz.render(text, { format: 'json' });
  need(drawn.status === 'success', drawn.errors.map((e) => e.message).join('; '));
  const objects = JSON.parse(drawn.output).objects ?? [];
  return new Set(objects.filter((o) => !('nodes' in o || 'subgraphs' in o || o.shape === 'point')).map((o) => o.name));
}

/// SCXML: compiles to a statechart that starts. Gives the identifiers of the states.
async function readScxml(text) {
  need(!new window.DOMParser().parseFromString(text, 'application/xml').querySelector('parsererror'), 'is no well-formed XML');
  const model = await new Promise((done, fail) =>
    scxml.documentStringToModel('machine.scxml', text, (error, made) =>
      error ? fail(error) : made.prepare((worse, ready) => (worse ? fail(worse) : done(ready)))));
  const chart = new scxml.core.Statechart(model);
  chart.start();
  need(chart.getConfiguration().length > 0, 'is in no state after its start');
  const states = new window.DOMParser().parseFromString(text, 'application/xml').querySelectorAll('state, final, parallel');
  return new Set([...states].map((s) => s.getAttribute('id')));
}

/// XState: a machine is made of it, and every leaf is reached from the start by its own transitions.
async function readXState(text) {
  const config = JSON.parse(text);
  const guards = guardsOf(config);
  const machine = createMachine(config, { guards: Object.fromEntries(guards.map(({ type }) => [type, holds(type)])) });
  const leaves = [...machine.idMap.values()].filter((n) => n.type === 'atomic' || n.type === 'final');
  // Which guard holds is chance to a reader: each in turn, and none. An event that nobody knows lets `always` have its turn.
  const choices = [null, ...guards.map((g) => JSON.stringify(g))];
  const events = [...machine.events, 'nothing happens'];
  holding = null;
  const open = [initialTransition(machine)[0]];
  const reached = new Set(), seen = new Set([JSON.stringify(open[0].value)]);
  while (open.length > 0) {
    const at = open.pop();
    at._nodes.forEach((n) => reached.add(n.id));
    for (const type of events) {
      for (holding of choices) {
        const [next] = transition(machine, at, { type });
        const key = JSON.stringify(next.value);
        if (!seen.has(key)) open.push(next), seen.add(key);
      }
    }
  }
  const lost = leaves.filter((n) => !reached.has(n.id)).map((n) => n.key);
  need(lost.length === 0, `no transition leads to ${lost.join(', ')}`);
  return new Set([...machine.idMap.values()].filter((n) => n.parent).map((n) => n.key));
}

let holding = null;
const holds = (type) => (_, params) => holding === JSON.stringify({ type, params });
function guardsOf(config) {
  const found = new Map();
  JSON.stringify(config, (key, value) => {
    if (key === 'guard') found.set(JSON.stringify(value), { type: value.type, params: value.params });
    return value;
  });
  return [...found.values()];
}

/// Copies that no reader may take: cut off in the middle, an arrow to nowhere, a target that does not exist.
const halve = (text) => text.slice(0, Math.floor(text.length / 2));
const loose = (text) => text.trimEnd() + '\n    Idle -->\n';
const formats = [
  { file: 'machine.mmd', read: readMermaid, broken: [loose, (t) => t.replace('}', '')] },
  { file: 'machine.dot', read: readDot, broken: [halve] },
  { file: 'machine.scxml', read: readScxml, broken: [halve, (t) => t.replace(/target="[^"]*"/, 'target="Nowhere"')] },
  { file: 'machine.xstate.json', read: readXState, broken: [halve, (t) => t.replace(/("target"\s*:\s*)"[^"]*"/, '$1"Nowhere"')] },
];

// The formats with nested states must agree on their names; DOT draws the nesting as boxes, so it knows the leaves only.
const sorted = (set) => [...set].sort().join(' ');

let failed = false;
const names = new Map();
for (const { file, read, broken } of formats) {
  const text = readFileSync(join(process.argv[2], file), 'utf8');
  try {
    for (const spoil of broken) {
      const bad = spoil(text);
      need(bad !== text, 'the self-test changed nothing');
      const refused = await read(bad).then(() => false, () => true);
      need(refused, 'a broken copy was accepted: this check cannot fail');
    }
    names.set(file, await read(text));
    console.log(`accepted ${file}: ${names.get(file).size} states`);
  } catch (error) {
    failed = true;
    console.log(`REFUSED ${file}: ${error.message}`);
  }
}
const nested = ['machine.mmd', 'machine.scxml', 'machine.xstate.json'].map((f) => names.get(f)).filter(Boolean);
if (new Set(nested.map(sorted)).size > 1) {
  failed = true;
  console.log('REFUSED: the formats name different states:', ...nested.map((set) => `\n  ${sorted(set)}`));
}
const strangers = [...(names.get('machine.dot') ?? [])].filter((leaf) => nested.some((set) => !set.has(leaf)));
if (strangers.length > 0) {
  failed = true;
  console.log(`REFUSED machine.dot: no other format knows ${strangers.join(', ')}`);
}
process.exit(failed ? 1 : 0);
