// The list of titles.

import { clock, displayName, families, lines, readTitle } from './title.js';

const list = document.getElementById('titles');
const lead = document.getElementById('lead');

function element(name, properties, ...children) {
  const node = Object.assign(document.createElement(name), properties);
  node.append(...children);
  return node;
}

function card(title) {
  const length = element('span', { className: 'length' });
  const facts = element('p', {});
  const image = element('img', { src: `${title}/poster.jpg`, alt: '', loading: 'lazy' });
  image.addEventListener('error', () => { image.hidden = true; });
  const link = element('a', { className: 'card', href: `watch/${title}` },
    element('div', { className: 'poster' }, image, length), element('h2', { textContent: displayName(title) }), facts);
  const load = async () => {
    try {
      const { duration, pictures } = await readTitle(title);
      length.textContent = clock(duration);
      facts.textContent = `${lines(pictures[0])} · ${families(pictures).join(', ')}`;
    } catch {
      facts.textContent = 'Unavailable right now';
    }
  };
  return { item: element('li', {}, link), load };
}

// Load a title's manifests when its card becomes visible, and the next page when the last card does.
const onVisible = new Map();
const observer = new IntersectionObserver((entries) => {
  for (const { target } of entries.filter((entry) => entry.isIntersecting)) {
    observer.unobserve(target);
    onVisible.get(target)();
  }
});

async function show(page) {
  const response = await fetch(page, { headers: { Accept: 'application/json' } });
  if (!response.ok) throw new Error();
  const { titles, next } = await response.json();
  for (const { title } of titles) {
    const { item, load } = card(title);
    onVisible.set(item, load);
    list.append(item);
    observer.observe(item);
  }
  const count = list.childElementCount;
  lead.textContent = count
    ? `${count}${next ? '+' : ''} ${count === 1 && !next ? 'title' : 'titles'}`
    : 'No titles yet. Publish one with “headend submit”.';
  if (!next) return;
  const last = list.lastElementChild;
  if (!titles.length || !last) {
    await show(`./${next}`);
    return;
  }
  const load = onVisible.get(last);
  onVisible.set(last, () => {
    load();
    show(`./${next}`).catch(showError);
  });
}

const showError = () => { lead.textContent = 'Can’t list the titles right now. Try again in a minute.'; };
show('./').catch(showError);
