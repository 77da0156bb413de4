// dash.js behind the common player interface; see watch.js.

import { programme } from './title.js';

export async function open(video, url, { fail, from, licence }) {
  const player = dashjs.MediaPlayer().create();
  player.updateSettings({
    debug: { logLevel: dashjs.Debug.LOG_LEVEL_NONE },
    streaming: { trackSwitchMode: { video: 'alwaysReplace', audio: 'alwaysReplace' }, buffer: { fastSwitchEnabled: true } },
  });
  if (licence) {
    player.setProtectionData({ 'org.w3.clearkey': { serverURL: licence, priority: 0 } });
    requestAllKeys(player);
  }
  const ready = new Promise((resolve, reject) => {
    player.on(dashjs.MediaPlayer.events.STREAM_INITIALIZED, resolve);
    player.on(dashjs.MediaPlayer.events.ERROR, ({ error }) => {
      const reason = error.message ?? String(error);
      reject(new Error(reason)); // no effect once `ready` has settled
      fail(reason);
    });
  });
  player.initialize(video, url, false, from || NaN);
  try {
    await ready;
  } catch (error) {
    player.destroy();
    throw error;
  }

  // Each video codec, and each codec and channel layout of an audio programme, is a separate track with representations.
  const choose = (kind, id) => {
    player.updateSettings({ streaming: { abr: { autoSwitchBitrate: { [kind]: id === null } } } });
    if (id === null) return;
    const isCurrent = () => player.getRepresentationsByType(kind).some((one) => one.id === id);
    if (isCurrent()) {
      player.setRepresentationForTypeById(kind, id, true);
      return;
    }
    const track = player.getTracksFor(kind).find((one) => one.bitrateList.some((bitrate) => bitrate.id === id));
    if (track === undefined) return;
    const onTrackChange = ({ mediaType }) => {
      if (mediaType !== kind) return;
      player.off(dashjs.MediaPlayer.events.TRACK_CHANGE_RENDERED, onTrackChange);
      if (isCurrent()) player.setRepresentationForTypeById(kind, id, true);
    };
    player.on(dashjs.MediaPlayer.events.TRACK_CHANGE_RENDERED, onTrackChange);
    player.setCurrentTrack(track);
  };
  return {
    picture: () => player.getCurrentRepresentationForType('video')?.id,
    choosePicture: (id) => choose('video', id),
    sound: () => player.getCurrentRepresentationForType('audio')?.id,
    chooseSound: (id) => choose('audio', id),
    chooseText: (wanted) => player.setTextTrack(
      player.getTracksFor('text').findIndex((track) => track.bitrateList.some(({ id }) => programme(id) === wanted))),
    throughput: () => 1000 * player.getAverageThroughput('video'),
    close: () => player.destroy(),
  };
}

// dash.js opens a session per key and requests only that key; a refusal ends playback, although other renditions could be
// decrypted. So each session requests all keys of the title. It then has key statuses, and dash.js skips renditions whose
// key has none.
function requestAllKeys(player) {
  const kids = new Set();
  player.on(dashjs.MediaPlayer.events.MANIFEST_LOADED, ({ data }) => {
    for (const { AdaptationSet: sets = [] } of data?.Period ?? []) {
      for (const { ContentProtection: protection = [] } of sets) {
        for (const { 'cenc:default_KID': kid } of protection) if (kid) kids.add(base64url(kid));
      }
    }
  });
  player.registerLicenseRequestFilter(async (request) => {
    if (kids.size) request.data = JSON.stringify({ kids: [...kids], type: 'temporary' });
  });
}

// Convert a UUID to ClearKey's base64url.
function base64url(uuid) {
  const bytes = uuid.replaceAll('-', '').match(/../g).map((byte) => parseInt(byte, 16));
  return btoa(String.fromCharCode(...bytes)).replaceAll('+', '-').replaceAll('/', '_').replaceAll('=', '');
}
