// Reads a title's renditions from its manifests, and formats them for people.

const CODECS = [
  [/^avc/, 'H.264'], [/^hvc|^hev/, 'HEVC'], [/^av01/, 'AV1'], [/^vp09/, 'VP9'],
  [/^mp4a/, 'AAC'], [/^opus/i, 'Opus'], [/^ac-3/, 'Dolby Digital'], [/^ec-3/, 'Dolby Digital Plus'],
];

// Trick play tracks are not offered for normal playback.
const TRICK_MODE = 'EssentialProperty[schemeIdUri="http://dashif.org/guidelines/trickmode"]';

/** Read a title's manifests. Rendition ids are the same in HLS and DASH. */
export async function readTitle(folder) {
  const [mpd, playlist] = await Promise.all([text(`${folder}/manifest.mpd`), text(`${folder}/multivariant.m3u8`)]);
  const document = new DOMParser().parseFromString(mpd, 'text/xml');
  // If encryption keys change, the MPD has several Periods, all with the same renditions.
  const all = document.getElementsByTagName('Period')[0].getElementsByTagName('Representation');
  const played = [...all].filter(({ parentNode }) => !parentNode.querySelector(TRICK_MODE));
  const renditions = played.map((node) => describe(node, playlist));
  const [, hours, minutes, seconds] = /^PT(?:(\d+)H)?(?:(\d+)M)?(?:([\d.]+)S)?$/.exec(
    document.documentElement.getAttribute('mediaPresentationDuration'));
  return {
    isProtected: document.getElementsByTagName('ContentProtection').length > 0,
    thumbnails: playlist.includes('#EXT-X-IMAGE-STREAM-INF'),
    duration: 3600 * (hours ?? 0) + 60 * (minutes ?? 0) + Number(seconds ?? 0),
    pictures: renditions.filter((one) => one.kind === 'video').sort((a, b) => b.height - a.height || b.bps - a.bps),
    sounds: renditions.filter((one) => one.kind === 'audio').sort((a, b) => b.channels - a.channels || b.bps - a.bps),
    // HLS and DASH have the same text programmes in different formats; the prefix of the id is the format.
    texts: renditions.filter((one) => one.id.startsWith('wvtt-')).map(({ id, label }) => ({ id: programme(id), label })),
  };
}

/** The text programme of a track: `en-sdh` for `vtt-en-sdh-0123456789` and `wvtt-en-sdh-9876543210`; else undefined. */
export const programme = (id) => /^w?vtt-(.+?)(?:-[0-9a-f]{10})?$/.exec(id)?.[1];

/** The id of a media playlist's track. */
export const idOfPlaylist = (uri) => /([^/]+?)(?:\.identity)?\.m3u8(?:$|\?)/.exec(uri)?.[1];

export const HLS_TYPE = 'application/vnd.apple.mpegurl';

// iPhones have ManagedMediaSource or nothing.
const source = globalThis.ManagedMediaSource ?? globalThis.MediaSource;

/** Whether this browser has Media Source Extensions. */
export const hasMediaSource = Boolean(source);

const probe = document.createElement('video');
const decodes = (type) => (source ? source.isTypeSupported(type) : probe.canPlayType(type) !== '');

/** Whether this browser has a built-in HLS player. */
export const hasNativeHls = probe.canPlayType(HLS_TYPE) !== '';

function describe(node, playlist) {
  const set = node.parentNode;
  const of = (name) => node.getAttribute(name) ?? set.getAttribute(name);
  const kind = of('contentType');
  const [frames, per] = (of('frameRate') ?? '0').split('/');
  const channels = set.querySelector('AudioChannelConfiguration')?.getAttribute('value');
  const codec = of('codecs');
  const id = of('id');
  return {
    id, kind, codec,
    family: CODECS.find(([pattern]) => pattern.test(codec))?.[1] ?? codec,
    width: Number(of('width')), height: Number(of('height')), frameRate: frames / (per ?? 1), bps: Number(of('bandwidth')),
    language: of('lang'), label: set.querySelector('Label')?.textContent,
    // Dolby's value is a bit mask of loudspeakers, others are a count; headend makes only 5.1 and stereo.
    channels: { F801: 6, A000: 2 }[channels] ?? Number(channels),
    decodes: decodes(`${kind}/mp4; codecs="${codec}"`),
    manifests: playlist.includes(`${id}.m3u8`) ? ['hls', 'dash'] : ['dash'],
  };
}

async function text(url) {
  const response = await fetch(url);
  if (!response.ok) {
    throw new Error(response.status === 404 ? 'There is no such title.'
      : `The origin returned status ${response.status}. Try again in a minute.`);
  }
  return response.text();
}

/** "Big Buck Bunny" for `big-buck-bunny`. */
export const displayName = (title) => title.split('-').filter(Boolean).map((word) => word[0].toUpperCase() + word.slice(1)).join(' ');

export const lines = (picture) => `${Math.min(picture.width, picture.height)}p`;
export const rate = (bps) => (bps >= 999_500 ? `${(bps / 1e6).toFixed(bps < 1e7 ? 1 : 0)} Mb/s` : `${Math.round(bps / 1e3)} kb/s`);

export function clock(seconds) {
  const whole = Math.round(seconds);
  const [hours, minutes, rest] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60];
  const two = (number) => String(number).padStart(2, '0');
  return hours ? `${hours}:${two(minutes)}:${two(rest)}` : `${minutes}:${two(rest)}`;
}

const FAMILIES = CODECS.map(([, family]) => family);

/** The codec families of some renditions, without duplicates, in a fixed order. */
export const families = (renditions) => [...new Set(renditions.map((one) => one.family))]
  .sort((a, b) => FAMILIES.indexOf(a) - FAMILIES.indexOf(b));
