// The page of all titles.

import { clock, families, lines, readTitle, spoken } from './title.js';

const shelf = document.getElementById('shelf');
const lead = document.getElementById('lead');

function element(name, properties, ...children) {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...children);
  return made;
}

function card(title) {
  const length = element('span', { className: 'length' });
  const facts = element('p', {});
  const image = element('img', { src: `${title}/poster.jpg`, alt: '', loading: 'lazy' });
  image.addEventListener('error', () => { image.hidden = true; });
  const link = element('a', { className: 'card', href: `watch/${title}` },
    element('div', { className: 'poster' }, image, length), element('h2', { textContent: spoken(title) }), facts);
  const tell = async () => {
    try {
      const found = await readTitle(title);
      length.textContent = clock(found.duration);
      facts.textContent = `${lines(found.pictures[0])} · ${families(found.pictures).join(', ')}`;
    } catch {
      facts.textContent = 'Not available at the moment';
    }
  };
  return { item: element('li', {}, link), tell };
}

// Manifests are read only for the cards that are seen, and the next page of titles when the last card is.
const seen = new Map();
const observer = new IntersectionObserver((entries) => {
  for (const { target } of entries.filter((entry) => entry.isIntersecting)) {
    observer.unobserve(target);
    seen.get(target)();
  }
});

async function show(page) {
  const answer = await fetch(page, { headers: { Accept: 'application/json' } });
  if (!answer.ok) throw new Error();
  const { titles, next } = await answer.json();
  for (const { title } of titles) {
    const { item, tell } = card(title);
    seen.set(item, tell);
    shelf.append(item);
    observer.observe(item);
  }
  const count = shelf.childElementCount;
  lead.textContent = count
    ? `${count}${next ? ' and more' : ''} ${count === 1 ? 'title' : 'titles'} to watch`
    : 'Nothing is published yet. Make a title with “headend submit”.';
  if (!next) return;
  const last = shelf.lastElementChild;
  if (!titles.length || !last) {
    await show(`./${next}`);
    return;
  }
  const tell = seen.get(last);
  seen.set(last, () => {
    tell();
    show(`./${next}`).catch(trouble);
  });
}

const trouble = () => { lead.textContent = 'The titles can’t be listed at the moment. Try again in a minute.'; };
show('./').catch(trouble);
