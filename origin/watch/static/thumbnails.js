// A seek bar with previews from the title's WebVTT thumbnail index; works with every player.

import { clock } from './title.js';

const CUE = /([\d:.]+) --> ([\d:.]+)\n(\S+)#xywh=(\d+),(\d+),(\d+),(\d+)/g;

const seconds = (time) => time.split(':').reduce((sum, part) => 60 * sum + Number(part), 0);

async function readIndex(url) {
  const response = await fetch(url);
  if (!response.ok) throw new Error(`The origin returned status ${response.status} for the thumbnails.`);
  // Sheets are relative to the index's address after the redirect.
  return [...(await response.text()).matchAll(CUE)].map(([, start, end, sheet, x, y, width, height]) => ({
    start: seconds(start), end: seconds(end), sheet: new URL(sheet, response.url).href, x, y, width, height }));
}

/** Connect the seek bar in `box` to the video. */
export async function previews(box, video, url, duration) {
  const cues = await readIndex(url);
  const [bar, preview, picture, time] = ['input', '.preview', '.thumbnail', '.time'].map((part) => box.querySelector(part));
  bar.max = duration;
  let dragged = false;

  function show(at) {
    const cue = cues.find(({ end }) => at < end) ?? cues.at(-1);
    Object.assign(picture.style, {
      width: `${cue.width}px`, height: `${cue.height}px`,
      backgroundImage: `url("${cue.sheet}")`, backgroundPosition: `-${cue.x}px -${cue.y}px` });
    picture.dataset.start = cue.start;
    time.textContent = clock(at);
    preview.hidden = false;
    const reach = box.clientWidth - preview.offsetWidth;
    preview.style.left = `${Math.max(0, Math.min(reach, (at / duration) * box.clientWidth - preview.offsetWidth / 2))}px`;
  }
  const hide = () => { preview.hidden = true; };

  bar.addEventListener('pointermove', ({ clientX, pointerType }) => {
    const { left, width } = bar.getBoundingClientRect();
    if (pointerType === 'mouse' && !dragged) show(duration * Math.max(0, Math.min(1, (clientX - left) / width)));
  });
  bar.addEventListener('pointerleave', () => { if (!dragged) hide(); });
  bar.addEventListener('input', () => {
    dragged = true;
    show(Number(bar.value));
  });
  bar.addEventListener('change', () => {
    dragged = false;
    hide();
    video.currentTime = Number(bar.value);
  });
  video.addEventListener('timeupdate', () => { if (!dragged) bar.value = video.currentTime; });
  box.hidden = false;
}
