// The browser's own HLS player behind the interface that all players have here; see watch.js.
//
// For iPhones, where older versions of iOS have no Media Source Extensions at all. It chooses renditions by itself.

import { HLS_TYPE } from './title.js';

export async function open(video, url, { fail, from }) {
  if (!video.canPlayType(HLS_TYPE)) throw new Error('this browser has no HLS player of its own');
  const reason = () => ['', 'it was stopped', 'the network failed', 'it can’t be decoded', 'it is not supported'][video.error?.code ?? 4];
  let begun = false;
  await new Promise((resolve, reject) => {
    const failed = () => (begun ? fail(reason()) : reject(new Error(reason())));
    video.addEventListener('loadedmetadata', resolve, { once: true });
    video.onerror = failed;
    video.src = url;
  }).catch((error) => {
    release(video);
    throw error;
  });
  begun = true;
  if (from) video.currentTime = from;

  const tracks = (list) => [...(list ?? [])];
  return {
    isAutomatic: true,
    picture: () => undefined,
    choosePicture: () => {},
    sound: () => undefined,
    chooseSound: () => {},
    chooseText: (_, label) => tracks(video.textTracks).forEach((track) => {
      track.mode = label && track.label === label ? 'showing' : 'disabled';
    }),
    throughput: () => null,
    close: () => release(video),
  };
}

function release(video) {
  video.onerror = null;
  video.removeAttribute('src');
  video.load();
}
