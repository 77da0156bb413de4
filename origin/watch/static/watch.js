// The watch page: plays a title with a choice of players, and shows playback statistics.
//
// Each player module exports `open(video, url, { fail, from, codecOf, licence })`. `licence` is the address of ClearKey
// licences; undefined for clear titles. `open` returns an object with: `picture()` and `sound()`, ids of the playing
// renditions; `choosePicture(id)`, null for automatic, and `chooseSound(id)`; `chooseText(programme, label)`, null for off;
// `throughput()` in bits per second; `close()`; and `isAutomatic` if renditions can't be chosen. Errors while opening
// reject `open`; later errors call `fail`, and the page closes the player.

import { chart } from './chart.js';
import { previews } from './thumbnails.js';
import { clock, displayName, families, hasMediaSource, hasNativeHls, lines, rate, readTitle } from './title.js';

const EVERY_MS = 500;
const AUTOMATIC = '';

const at = (id) => document.getElementById(id);
const video = at('video');
const native = { name: 'native', label: 'Browser', manifests: ['hls'] };
const players = [...(hasMediaSource ? JSON.parse(at('players').textContent) : []), ...(hasNativeHls ? [native] : [])];
const name = location.pathname.split('/').at(-1);
const wanted = new URLSearchParams(location.search);
const licences = JSON.parse(at('licences').textContent);
const token = /\/t\/[^/]+(?=\/watch\/)/.exec(location.pathname)?.[0] ?? '';

const state = { title: null, player: null, manifest: null, open: null, generation: 0, last: null };
const statistics = { switches: 0, stalls: 0, dropped: 0, decoded: 0 };
const rates = chart(at('rates'), [{ colour: '#ffb454', filled: true }, { colour: '#5cc8ff' }], { logarithmic: true });
const buffered = chart(at('buffered'), [{ colour: '#5fd38a', filled: true }], { least: 10 });

// --- choosing a player -------------------------------------------------------------------------------------------

function choices(id, options, value, choose) {
  const box = at(id);
  box.querySelectorAll('label').forEach((label) => label.remove());
  for (const option of options) {
    const input = Object.assign(document.createElement('input'), {
      type: 'radio', name: id, value: option.value, checked: option.value === value, disabled: option.disabled ?? false });
    input.addEventListener('change', () => choose(option.value));
    const label = document.createElement('label');
    label.append(input, Object.assign(document.createElement('span'), { textContent: option.label }));
    box.append(label);
  }
}

function showChoices() {
  choices('player', players.map(({ name: value, label }) => ({ value, label })), state.player.name, (chosen) => {
    const player = players.find((one) => one.name === chosen);
    start(player, player.manifests.includes(state.manifest) ? state.manifest : player.manifests[0]);
  });
  const manifests = [['hls', 'HLS'], ['dash', 'DASH']];
  choices('manifest', manifests.map(([value, label]) => ({
    value, label, disabled: !state.player.manifests.includes(value) })), state.manifest, (chosen) => start(state.player, chosen));
}

async function start(player, manifest) {
  const generation = ++state.generation;
  const [from, playing] = [video.ended ? 0 : video.currentTime, !video.paused && !video.ended];
  Object.assign(state, { player, manifest, last: null });
  Object.assign(statistics, { switches: 0, stalls: 0, ...frames() });
  at('trouble').hidden = true;
  showChoices();
  history.replaceState(null, '', `?player=${player.name}&manifest=${manifest}`);
  const before = state.open;
  state.open = null;
  const current = () => generation === state.generation;
  try {
    await before?.close();
    await script(player);
    const { open } = await import(`./play-${player.name}.js`);
    if (!current()) return;
    const { isProtected } = state.title;
    if (isProtected && !licences) throw new Error('it is protected, and this origin has no licence service');
    const opened = await open(video, new URL(`../${name}/${fileOf(manifest, player, isProtected)}`, location.href).href, {
      from,
      licence: isProtected ? `${licences}${token}/${name}/licence` : undefined,
      fail: (reason) => {
        if (!current()) return;
        showError(`${player.label} can’t play this: ${reason}.`);
        state.open?.close();
        state.open = null;
      },
      codecOf: (id) => find(id).codec });
    if (!current()) {
      await opened.close();
      return;
    }
    state.open = opened;
    showMenus();
    if (playing) await video.play();
  } catch (error) {
    if (current()) showError(`${player.label} can’t play this: ${error.message || error.code || error}.`);
  }
}

// Shaka Player and built-in players don't support ClearKey in HLS; they read keys from the URIs in identity playlists.
function fileOf(manifest, { name: of }, isProtected) {
  if (manifest === 'dash') return 'manifest.mpd';
  return isProtected && of !== 'hls' ? 'multivariant-identity.m3u8' : 'multivariant.m3u8';
}

const scripts = new Map();
function script({ name: of, script: src, integrity }) {
  if (!src) return undefined;
  if (!scripts.has(of)) {
    scripts.set(of, new Promise((resolve, reject) => {
      const node = Object.assign(document.createElement('script'), { src: new URL(src, location.href).href, integrity, crossOrigin: 'anonymous' });
      node.addEventListener('load', resolve);
      node.addEventListener('error', () => {
        scripts.delete(of);
        reject(new Error('its script can’t be loaded'));
      });
      document.head.append(node);
    }));
  }
  return scripts.get(of);
}

function showError(message) {
  at('trouble').textContent = message;
  at('trouble').hidden = false;
}

// --- choosing a rendition ----------------------------------------------------------------------------------------

const find = (id) => [...state.title.pictures, ...state.title.sounds].find((one) => one.id === id);
const playable = (renditions) => renditions.filter((one) => one.decodes && one.manifests.includes(state.manifest));

function showMenus() {
  const automatic = Boolean(state.open?.isAutomatic);
  const pictures = automatic ? [] : playable(state.title.pictures);
  at('picture').replaceChildren(new Option('Automatic', AUTOMATIC), ...families(pictures).map((family) => {
    const group = Object.assign(document.createElement('optgroup'), { label: family });
    group.append(...pictures.filter((one) => one.family === family).map((one) => new Option(`${lines(one)} · ${family} · ${rate(one.bps)}`, one.id)));
    return group;
  }));
  const several = new Set(state.title.sounds.map((one) => one.label)).size > 1;
  at('sound').replaceChildren(...(automatic ? [] : playable(state.title.sounds)).map((one) => new Option(
    `${several ? `${one.label} · ` : ''}${one.channels > 2 ? '5.1' : 'Stereo'} · ${one.family} · ${rate(one.bps)}`, one.id)));
  at('picture').disabled = automatic;
  at('sound').closest('label').hidden = automatic || !state.title.sounds.length;
  at('text').replaceChildren(new Option('Off', ''), ...state.title.texts.map((one) => new Option(one.label, one.id)));
  at('text').closest('label').hidden = !state.title.texts.length;
}

const choosing = (choose) => Promise.resolve(choose).catch((error) => showError(`This can’t be played: ${error.message || error.code}.`));
at('picture').addEventListener('change', ({ target }) => choosing(state.open?.choosePicture(target.value || null)));
at('sound').addEventListener('change', ({ target }) => choosing(state.open?.chooseSound(target.value)));
at('text').addEventListener('change', ({ target }) => choosing(state.open?.chooseText(target.value || null, target.selectedOptions[0].textContent)));

// --- playback statistics -----------------------------------------------------------------------------------------

function frames() {
  const { totalVideoFrames: decoded, droppedVideoFrames: dropped } = video.getVideoPlaybackQuality?.() ?? { totalVideoFrames: 0, droppedVideoFrames: 0 };
  return { decoded, dropped };
}

function ahead() {
  for (let range = 0; range < video.buffered.length; range += 1) {
    if (video.buffered.start(range) <= video.currentTime + 0.1 && video.currentTime < video.buffered.end(range)) {
      return video.buffered.end(range) - video.currentTime;
    }
  }
  return 0;
}

function update() {
  const picture = state.open && find(state.open.picture());
  const sound = state.open && find(state.open.sound());
  const throughput = state.open?.throughput() || null;
  if (picture && picture.id !== state.last) {
    if (state.last !== null) statistics.switches += 1;
    state.last = picture.id;
  }
  const bps = picture ? picture.bps + (sound?.bps ?? 0) : null;
  const { decoded, dropped } = frames();
  const shown = picture ?? (video.videoWidth ? { width: video.videoWidth, height: video.videoHeight } : null);
  at('now-size').textContent = shown ? lines(shown) : '–';
  at('now-codec').textContent = picture ? picture.family : '';
  at('now-id').textContent = [picture?.id, sound?.id].filter(Boolean).join(' + ');
  at('now-id').dataset.picture = picture?.id ?? '';
  at('now-id').dataset.sound = sound?.id ?? '';
  at('bitrate').textContent = bps ? rate(bps) : '–';
  at('throughput').textContent = throughput ? rate(throughput) : '–';
  at('buffer').textContent = `${ahead().toFixed(1)} s`;
  // The element keeps counting when its source changes, so subtract the counts at the start.
  at('dropped').textContent = `${Math.max(0, dropped - statistics.dropped)} of ${Math.max(0, decoded - statistics.decoded)}`;
  at('switches').textContent = statistics.switches;
  at('stalls').textContent = statistics.stalls;
  if (sound && document.activeElement !== at('sound')) at('sound').value = sound.id;
  rates.add(bps && bps / 1e6, throughput && throughput / 1e6);
  buffered.add(ahead());
}

function showState(playback) {
  at('dot').dataset.state = playback;
}
video.addEventListener('playing', () => showState('playing'));
video.addEventListener('pause', () => showState(''));
video.addEventListener('ended', () => showState(''));
video.addEventListener('waiting', () => {
  showState('waiting');
  // Waiting after a seek or before the start is not a stall.
  if (!video.seeking && video.played.length && video.currentTime < video.duration - 0.5) statistics.stalls += 1;
});

// --- start -------------------------------------------------------------------------------------------------------

// A token covers one title, not the list.
if (/\/t\/[^/]+\/watch\//.test(location.pathname)) document.querySelectorAll('.bar a').forEach((link) => link.removeAttribute('href'));
document.title = `${displayName(name)} · headend`;
at('title').textContent = displayName(name);
video.poster = `../${name}/poster.jpg`;
try {
  state.title = await readTitle(`../${name}`);
  const [best] = state.title.pictures;
  const counts = `${state.title.pictures.length + state.title.sounds.length} renditions`;
  at('facts').textContent = [clock(state.title.duration), `${best.width} × ${best.height}`,
    `${Number(best.frameRate.toFixed(3))} frames/s`, counts, families(state.title.pictures).join(', ')].join(' · ');
  const player = players.find((one) => one.name === wanted.get('player')) ?? players[0];
  if (!player) throw new Error('This browser can play neither HLS nor DASH.');
  const manifest = player.manifests.includes(wanted.get('manifest')) ? wanted.get('manifest') : player.manifests[0];
  setInterval(update, EVERY_MS);
  if (state.title.thumbnails) previews(at('seek'), video, `../${name}/thumbnails.vtt`, state.title.duration).catch((error) => showError(error.message));
  await start(player, manifest);
} catch (error) {
  showError(error.message);
}
