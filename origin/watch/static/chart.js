// Line charts of the last minute.

const SECONDS = 60;
const EDGE = 30; // left margin for the labels of the scale

/**
 * Draw a chart on a canvas. Each line has a colour and may be filled; logarithmic scales start at 0.1.
 * `add` takes one value per line, or null for no value.
 */
export function chart(canvas, lines, { logarithmic = false, least = 1 } = {}) {
  const rows = [];
  const place = (value) => (logarithmic ? Math.log10(Math.max(value, 0.1)) + 1 : value);
  const ticks = (top) => (logarithmic ? [0.1, 1, 10, 100, 1000, 10000].filter((tick) => place(tick) <= top) : [0, top / 2, top]);

  function draw() {
    const [width, height] = [canvas.clientWidth, canvas.clientHeight];
    const scale = window.devicePixelRatio || 1;
    canvas.width = width * scale;
    canvas.height = height * scale;
    const pen = canvas.getContext('2d');
    pen.scale(scale, scale);
    const now = performance.now() / 1000;
    const most = Math.max(least, ...rows.flatMap(({ values }) => values.filter((value) => value !== null)));
    const top = logarithmic ? Math.ceil(place(most)) : 2 * Math.ceil(most / 2);
    const x = (at) => EDGE + (width - EDGE) * (1 - (now - at) / SECONDS);
    const y = (value) => height - 8 - (height - 16) * (place(value) / top);

    pen.font = '10px system-ui, sans-serif';
    pen.textBaseline = 'middle';
    pen.textAlign = 'right';
    for (const tick of ticks(top)) {
      pen.strokeStyle = '#242936';
      pen.beginPath();
      pen.moveTo(EDGE, Math.round(y(tick)) + 0.5);
      pen.lineTo(width, Math.round(y(tick)) + 0.5);
      pen.stroke();
      pen.fillStyle = '#98a1b3';
      pen.fillText(tick, EDGE - 6, y(tick));
    }
    lines.forEach(({ colour, filled }, index) => {
      const points = rows.filter(({ values }) => values[index] !== null).map(({ at, values }) => [x(at), y(values[index])]);
      if (points.length < 2) return;
      pen.save();
      pen.beginPath();
      pen.rect(EDGE, 0, width - EDGE, height);
      pen.clip();
      pen.beginPath();
      points.forEach(([left, up]) => pen.lineTo(left, up));
      pen.strokeStyle = colour;
      pen.lineWidth = 1.75;
      pen.lineJoin = 'round';
      pen.stroke();
      if (filled) {
        pen.lineTo(points.at(-1)[0], height - 8);
        pen.lineTo(points[0][0], height - 8);
        pen.globalAlpha = 0.16;
        pen.fillStyle = colour;
        pen.fill();
      }
      pen.restore();
    });
  }

  return {
    add(...values) {
      const at = performance.now() / 1000;
      rows.push({ at, values });
      while (rows[0].at < at - SECONDS - 1) rows.shift();
      draw();
    },
  };
}
